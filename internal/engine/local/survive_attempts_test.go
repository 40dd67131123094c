package local

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// knockEnv makes this test binary a stranger who knocks at keepers' sockets.
const knockEnv = "REMUDA_TEST_KNOCK"

// knock says how a connection to each path ends.
func knock(paths string) {
	for path := range strings.SplitSeq(paths, ":") {
		fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err == nil {
			err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: path})
		}
		fmt.Println(err)
	}
}

// TestStrangersDoNotAttach has another user of the machine knock at the sockets of
// keepers, with and without a server.
func TestStrangersDoNotAttach(t *testing.T) {
	a := newEra(t)
	// The way there is open to everybody, as it is to /var/lib.
	for _, dir := range []string{a.dir, filepath.Dir(a.dir)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	started, forked := a.make(false, 16), a.make(true, 16)
	sockets, err := filepath.Glob(filepath.Join(a.dir, "run", "*.sock"))
	if err != nil || len(sockets) != 2 {
		t.Fatalf("sockets: %v, %v", sockets, err)
	}
	try := func(uid uint32) string {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^$")
		cmd.Env = []string{knockEnv + "=" + strings.Join(sockets, ":")}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("the stranger: %v\n%s", err, out)
		}
		return string(out)
	}
	refused := strings.Repeat("permission denied\n", 2)
	nobody, script := uint32(65534), uint32(started.blank.scriptUser())
	for _, uid := range []uint32{nobody, script} {
		if got := try(uid); got != refused {
			t.Errorf("user %d with a server: %q", uid, got)
		}
	}
	for _, i := range []*Instance{started, forked} {
		if err := i.Detach(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	a.close()
	if got := try(nobody); got != refused {
		t.Errorf("without a server: %q", got)
	}
	// The same attempt by root arrives: it is the user that is refused.
	if got := try(0); got != strings.Repeat("<nil>\n", 2) {
		t.Errorf("root: %q", got)
	}
	if found := a.next(started.ID(), forked.ID()); len(found.Attached) != 2 {
		t.Errorf("%+v", found)
	}
}

// knockInside tries all ways to a keeper that a script could know of.
const knockInside = `
import os, socket
tried, through = 0, []
def knock(address):
    global tried
    tried += 1
    c = socket.socket(socket.AF_UNIX)
    c.settimeout(2)
    try:
        c.connect(address)
        through.append(address)
    except OSError:
        pass
    c.close()
for path in PATHS:
    for prefix in ("", "/proc/1/root", "/proc/self/root/..", "/.."):
        knock(prefix + path)
    knock("\0" + path)
for line in open("/proc/net/unix").read().splitlines()[1:]:
    words = line.split()
    if len(words) > 7:
        knock(words[7].replace("@", "\0"))
for top, dirs, names in os.walk("/run"):
    for name in names + dirs:
        knock(os.path.join(top, name))
for n in range(3, 4096):  # what it may have inherited
    try:
        s = socket.socket(fileno=n)
        peer = s.getpeername()
        if s.family == socket.AF_UNIX and peer:
            through.append("descriptor %d to %r" % (n, peer))
        s.detach()
    except OSError:
        pass
print(tried > 10, through)
`

// TestScriptsDoNotAttach has scripts look for the sockets of their own keepers.
func TestScriptsDoNotAttach(t *testing.T) {
	kinds(t, func(t *testing.T, forked bool) {
		a := newEra(t)
		i := a.make(forked, 16)
		sockets, err := filepath.Glob(filepath.Join(a.dir, "run", "*.sock"))
		if err != nil || len(sockets) != 1 {
			t.Fatalf("sockets: %v, %v", sockets, err)
		}
		paths := fmt.Sprintf("[%q, %q, %q]", sockets[0], "/run/remuda/keeper/door", "/run/remuda/control")
		var out strings.Builder
		res, err := i.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: strings.Replace(knockInside, "PATHS", paths, 1)}, func(r remuda.OutputRecord) error {
			out.Write(r.Data)
			return nil
		})
		if err != nil || res.State != remuda.ExecutionSuccess || out.String() != "True []\n" {
			t.Errorf("%+v, %v, output %q", res, err, out.String())
		}
		if !i.Alive() {
			t.Error("its keeper has been led astray")
		}
	})
}

// chaosEnv makes this test binary a server that is killed at any moment.
const chaosEnv = "REMUDA_TEST_CHAOS_SERVER"

// TestKilledAnytime kills servers at random moments, also while they take over from
// each other. The last one finds what was promised to live and leaves nothing.
func TestKilledAnytime(t *testing.T) {
	a := newEra(t)
	a.close()
	promised := filepath.Join(a.dir, "promised")
	if err := os.Mkdir(promised, 0o700); err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 1))
	for round := range 12 {
		before := promises(t, promised)
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^$")
		cmd.Env = append(os.Environ(), chaosEnv+"="+a.dir)
		var said strings.Builder
		cmd.Stdout = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if round%2 == 0 { // at work, and not while it takes over
			until(t, "a server makes a promise", func() bool { return !slices.Equal(before, promises(t, promised)) })
		}
		// Not to wait for something: the moment is what is tried.
		time.Sleep(time.Duration(chance.IntN(500)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		if said.Len() > 0 {
			t.Fatalf("a server said: %s", said.String())
		}
	}
	keep := promises(t, promised)
	found := a.next(keep...)
	t.Logf("%d instances were promised, %d live, lost: %v", len(keep), len(found.Attached), found.Lost)
	if len(keep) == 0 || len(found.Attached) != len(keep) {
		t.Errorf("of %d instances that were promised to live %d do: %v", len(keep), len(found.Attached), found.Lost)
	}
	for _, inst := range found.Attached {
		if err := inst.(engine.Resumer).Drop(t.Context()); err != nil {
			t.Error(err)
		}
		res, err := inst.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: "assert mine == " + fmt.Sprintf("%q", inst.ID())}, nil)
		if err != nil || res.State != remuda.ExecutionSuccess {
			t.Errorf("%s: %+v, %v", inst.ID(), res, err)
		}
	}
}

// promises lists the instances that were promised to live, by the files that say so.
func promises(t *testing.T, dir string) []remuda.InstanceID {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var ids []remuda.InstanceID
	for _, e := range entries {
		ids = append(ids, remuda.InstanceID(e.Name()))
	}
	return ids
}
