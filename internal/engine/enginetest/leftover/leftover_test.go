package leftover

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// role makes this test binary an owner of things, instead of a test.
const role = "REMUDA_TEST_LEFTOVER_OWNER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(role); dir != "" {
		own(dir)
		return
	}
	os.Exit(m.Run())
}

// own takes a data directory and names a module, says which, and waits.
func own(data string) {
	lock, err := os.OpenFile(filepath.Join(data, "engine.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	name, nameErr := Module("m")
	if err != nil || nameErr != nil {
		os.Exit(1)
	}
	_, _ = os.Stdout.WriteString(name + "\n")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	_ = lock.Close()
}

// TestSweep leaves cgroups and modules of a living and of a dead owner, and of
// nobody that is known.
func TestSweep(t *testing.T) {
	const fresh = "bbbbbbbbbbbb" // its owner may be about to start again
	t.Parallel()
	top, err := os.MkdirTemp("", "leftover")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	tree, packages := filepath.Join(top, "cgroup"), filepath.Join(top, "packages")
	keeps := func(path string, want bool) {
		t.Helper()
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %v", path, err, want)
		}
	}
	place := func(path string) string {
		t.Helper()
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write := func(path, content string) string {
		t.Helper()
		place(filepath.Dir(path))
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	owner := func(test, herd string) (end func(), paths []string) {
		t.Helper()
		data := place(filepath.Join(top, test, "001", "data"))
		file := write(filepath.Join(data, "herd"), herd+"\n")
		if old := time.Now().Add(-2 * quarantine); herd != fresh && os.Chtimes(file, old, old) != nil {
			t.Fatal("a file could not be made older")
		}
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), role+"="+data)
		in, inErr := cmd.StdinPipe()
		out, err := cmd.StdoutPipe()
		if err != nil || inErr != nil {
			t.Fatal(err, inErr)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		name, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		end = func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			_ = in.Close()
		}
		t.Cleanup(end)
		return end, []string{
			place(filepath.Join(tree, "cpu", "remuda-"+herd)), place(filepath.Join(tree, "memory", "remuda-oci-"+herd, "ins_a")),
			write(filepath.Join(packages, strings.TrimSpace(name)+".py"), ""),
			write(filepath.Join(packages, "__pycache__", strings.TrimSpace(name)+".cpython-311.pyc"), ""),
		}
	}
	_, living := owner("TestLiving1", "0123456789ab")
	end, dead := owner("TestDead2", "ba9876543210")
	endFresh, restarts := owner("TestDead3", fresh)
	_, elsewhere := owner("elsewhere", "aaaaaaaaaaaa") // not in a test's directory
	end()
	endFresh()
	restarts = restarts[:2] // its module is nobody's any more
	unknown := []string{
		place(filepath.Join(tree, "cpu", "remuda-ffffffffffff")), place(filepath.Join(tree, "cpu", "other")),
		write(filepath.Join(packages, "remuda_test_mine.py"), ""),
	}
	sweepCgroups(top, tree)
	sweepModules(packages)
	for _, path := range slices.Concat(living, elsewhere, restarts, unknown) {
		keeps(path, true)
	}
	for _, path := range dead {
		keeps(path, false)
	}
	keeps(filepath.Join(tree, "memory", "remuda-oci-ba9876543210"), false)
}
