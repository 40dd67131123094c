package local

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// takeAll attempts to take every inotify instance and every place of asynchronous
// I/O that the machine has, in processes of its own, and keeps what it gets.
const takeAll = `
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
got = [libc.inotify_init1(0) for _ in range(1000)]
assert ctypes.get_errno() == errno.ENOSYS, ctypes.get_errno()
assert max(got) == -1, "an inotify instance was had"
context = ctypes.c_ulong(0)
assert libc.syscall({"x86_64": 206, "aarch64": 0}[os.uname().machine], 60000, ctypes.byref(context)) == -1, "asynchronous I/O was had"
assert ctypes.get_errno() == errno.ENOSYS, ctypes.get_errno()
`

// TestNumbersOfTheMachine has a script try to take what all share, and looks that
// something is left.
func TestNumbersOfTheMachine(t *testing.T) {
	e := open(t, Options{})
	for name, spec := range map[string]engine.Spec{"forked": upTemplate(t, e, templateSpec()), "started": templateSpec()} {
		t.Run(name, func(t *testing.T) {
			inst := create(t, e, spec)
			if res := execute(t, inst, takeAll); res.State != remuda.ExecutionSuccess {
				t.Errorf("%+v", res.Error)
			}
			fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
			if err != nil {
				t.Fatalf("while the instance lives, outside: %v", err)
			}
			_ = unix.Close(fd)
		})
	}
}
