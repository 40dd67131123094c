package oci

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"

	runc "github.com/containerd/go-runc"
	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine/keeper"
	"github.com/remuda-run/remuda/internal/engine/local/cgroup"
	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// runscFlags: no way out of the sandbox is asked for. Cgroups are ours: runsc's
// own way with them knows no machine with both versions. directfs would leave
// gVisor's kernel able to open files of the machine; without it, only a helper
// with the sandbox's mounts and nothing else can.
var runscFlags = []string{
	"--platform=systrap", "--network=none", "--ignore-cgroups", "--overlay2=none", "--directfs=false", "--host-uds=none", "--host-settings=ignore",
}

// container is a run of runsc: the processes of one sandbox, all in one cgroup.
type container struct {
	group *cgroup.Group
	said  *tail // on standard error
	ended chan struct{}
	err   error // how runsc ended; once ended is closed
}

// start starts a container in group, and returns it with our end of the
// connection to its keeper. The group has every process of it from the first
// one's first step.
func start(runsc, bundle, id string, group *cgroup.Group) (*container, *net.UnixConn, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	c := &container{group: group, said: &tail{}, ended: make(chan struct{})}
	driver := &runc.Runc{Command: runsc, Root: bundle + "/state", ExtraArgs: runscFlags}
	pids := make(chan int, 1)
	go func() {
		defer close(c.ended)
		// Not with a context of the caller's: how a sandbox ends is Kill's business.
		_, c.err = driver.Run(context.Background(), id, bundle, &runc.CreateOpts{
			IO: plumbing{stdin: theirs, stderr: c.said}, Started: pids, ExtraArgs: []string{"--pass-fd", fmt.Sprintf("%d:%d", passedFD, protocol.ListenFD)},
		})
	}()
	pid, ok := <-pids
	_ = theirs.Close() // runsc has its own; when it could not be started, nobody has
	if !ok {
		<-c.ended
		return nil, nil, errors.Join(fmt.Errorf("start runsc: %w", c.err), ours.Close())
	}
	if err := admit(group, pid, ours); err != nil {
		return c, nil, errors.Join(err, ours.Close())
	}
	return c, ours, nil
}

// sandboxOOMScore makes the kernel prefer a sandbox to everything else on the
// machine when memory is short.
const sandboxOOMScore = "500"

// admit puts the waiting process into its cgroup and lets it go on.
func admit(group *cgroup.Group, pid int, ours *net.UnixConn) error {
	if err := group.Admit(pid); err != nil {
		return err
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(sandboxOOMScore), 0); err != nil {
		return fmt.Errorf("make a sandbox the first to go when memory is short: %w", err)
	}
	if _, err := ours.Write([]byte("go\n")); err != nil {
		return fmt.Errorf("let runsc start: %w", err)
	}
	return nil
}

// gate waits for a line and becomes runsc. The shell reads no byte more than the
// line from a socket. The connection leaves standard input: gVisor would give it
// to the keeper there too, and shut it down when one of both is closed.
const gate = `read -r line && exec "$0" "$@" 9<&0 </dev/null`

// passedFD is where the gate puts the connection.
const passedFD = 9

// plumbing is the seam at which go-runc lets us have the command: it goes
// through the gate, has nothing of our environment, and has the connection as
// standard input, which runsc passes on.
type plumbing struct {
	runc.IO

	stdin  *os.File
	stderr *tail
}

// Set implements runc.IO.
func (p plumbing) Set(cmd *exec.Cmd) {
	cmd.Args = append([]string{"sh", "-c", gate}, append([]string{cmd.Path}, cmd.Args[1:]...)...)
	cmd.Path = "/bin/sh"
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.Dir = "/"
	// runsc pins a network namespace by a mount in its state directory. In a
	// mount namespace of its own that goes away with it, also after a crash.
	cmd.SysProcAttr.Unshareflags = unix.CLONE_NEWNS
	cmd.Stdin, cmd.Stderr = p.stdin, p.stderr
}

func socketPair() (*net.UnixConn, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	mine, theirs := os.NewFile(uintptr(pair[0]), "keeper"), os.NewFile(uintptr(pair[1]), "server")
	conn, err := net.FileConn(mine)
	if err = errors.Join(err, mine.Close()); err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return conn.(*net.UnixConn), theirs, nil
}

// Kill implements keeper.Process.
func (c *container) Kill() error { return c.group.Kill() }

// Exited implements keeper.Process.
func (c *container) Exited() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// Wait implements keeper.Process. What is left when runsc has ended, is ended.
func (c *container) Wait() error {
	<-c.ended
	ctx, cancel := context.WithTimeout(context.Background(), keeper.CleanupTime)
	defer cancel()
	return c.group.Empty(ctx)
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 2 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailBytes; over > 0 {
		t.text = append([]byte(nil), t.text[over:]...)
	}
	return len(p), nil
}

// String implements fmt.Stringer.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
