package launch

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

func TestWire(t *testing.T) {
	t.Parallel()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll([]int{pair[1]})
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := send(pair[0], request{Base: 7, Size: 9, InCgroup: true}, int(f.Fd()), int(f.Fd())); err != nil {
		t.Fatal(err)
	}
	var got request
	fds, err := receive(pair[1], &got)
	if err != nil || got != (request{Base: 7, Size: 9, InCgroup: true}) || len(fds) != 2 {
		t.Errorf("got %+v with %v, %v", got, fds, err)
	}
	closeAll(fds)
	// What is no request is refused, and the descriptors with it are not lost.
	if err := unix.Sendmsg(pair[0], []byte("garbage"), unix.UnixRights(int(f.Fd())), nil, 0); err != nil {
		t.Fatal(err)
	}
	if fds, err = receive(pair[1], &got); err == nil || len(fds) != 1 {
		t.Errorf("garbage: %v with %v", err, fds)
	}
	closeAll(fds)
	if err := unix.Sendmsg(pair[0], make([]byte, maxMessage+1), nil, nil, 0); err != nil {
		t.Fatal(err)
	}
	if _, err = receive(pair[1], &got); err == nil {
		t.Error("a message that is too long was taken")
	}
	closeAll([]int{pair[0]})
	if _, err = receive(pair[1], &got); !errors.Is(err, errClosed) {
		t.Errorf("a closed socket: %v", err)
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	if _, _, err := start(0, request{}, []int{1}); err == nil {
		t.Error("a keeper was started without its descriptors")
	}
	c, err := NewClient([]byte("no program"), func() protocol.Root { return protocol.Root{} })
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Start(Keeper{CgroupFD: -1}); err == nil {
		t.Error("what is no program was started")
	}
	if _, err := os.OpenFile(c.Path(), os.O_WRONLY, 0); err == nil {
		if _, err := unix.Write(c.binary, []byte("x")); err == nil {
			t.Error("the sealed program can be written to")
		}
	}
	c.Close()
	c.Close()
	if _, _, err := c.Start(Keeper{CgroupFD: -1}); err == nil {
		t.Error("a closed client starts keepers")
	}
}

// TestPathIsNotOverwritten starts the program with the descriptor whose number is
// the highest below the program's: see sealed.
func TestPathIsNotOverwritten(t *testing.T) {
	t.Parallel()
	program, err := os.ReadFile("/usr/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewClient(program, func() protocol.Root { return protocol.Root{} })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var opened []*os.File
	for len(opened) == 0 || int(opened[len(opened)-1].Fd()) < c.binary {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		opened = append(opened, f)
	}
	if len(opened) < 2 {
		t.Fatalf("no descriptor below %d could be had", c.binary)
	}
	highest := opened[len(opened)-2]
	for _, f := range opened[:len(opened)-2] { // whose numbers the child's pipe gets
		_ = f.Close()
	}
	cmd := exec.CommandContext(t.Context(), c.Path())
	cmd.ExtraFiles = []*os.File{highest}
	if err := cmd.Run(); err != nil {
		t.Errorf("with descriptor %d, the program being %d: %v", highest.Fd(), c.binary, err)
	}
}

// TestHungLauncher has a program in the launcher's place that runs and answers
// nothing.
func TestHungLauncher(t *testing.T) {
	t.Parallel()
	yes, err := os.ReadFile("/usr/bin/yes") // busy with any arguments
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewClient(yes, func() protocol.Root { return protocol.Root{} })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.answer = 50 * time.Millisecond
	for range 2 { // the second one gets a launcher of its own
		_, _, err := c.Start(Keeper{Stderr: 2, Listen: 2, Lock: 2, CgroupFD: -1})
		if err == nil || !strings.Contains(err.Error(), "did not answer within 50ms") {
			t.Errorf("got %v", err)
		}
		if state := c.cmd.ProcessState; state == nil || c.Pid() != 0 {
			t.Errorf("the hung launcher is still there: %v", state)
		}
	}
}
