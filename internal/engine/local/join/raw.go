package join

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// step is one system call.
type step struct {
	number uintptr
	args   [6]uintptr
	want   uintptr // what it has to return; anyResult is anything that is no error
	kind   kind    // 0 is an ordinary call
}

type kind uintptr

const (
	// split is a clone: the child goes on with the second list.
	split kind = iota + 1
	// attempt may fail, in which case the next step is made: an execve.
	attempt
)

const anyResult = ^uintptr(0)

// program is what a process with one thread runs after it was cloned: the first
// list, in whose course it splits, then the rest of the first or the second.
type program struct {
	first, second   *step
	nFirst, nSecond uintptr
	// report is where a failure is written, and failure the step that sends it.
	report  *[1 + failureSize]byte
	failure *step
	exit    *step
}

//go:norace
//go:nosplit
func (s *step) make() (uintptr, syscall.Errno) {
	r, _, errno := syscall.RawSyscall6(s.number, s.args[0], s.args[1], s.args[2], s.args[3], s.args[4], s.args[5])
	return r, errno
}

// clone makes the guest and returns its pid. The guest never returns: it runs the
// program, on a copy of this thread's stack, with every signal blocked. As little
// as in package syscall's fork may happen there: no call that could grow the
// stack, allocate, or meet the garbage collector.
//
//go:norace
//go:nosplit
func clone(p *program, c *step) (pid uintptr, errno syscall.Errno) {
	if pid, errno = c.make(); errno != 0 || pid != 0 {
		return pid, errno
	}
	steps, n := p.first, p.nFirst
	base := uintptr(0) // of the second list's numbers, for reports
	worst := syscall.Errno(0)
	for i := uintptr(0); i < n; i++ {
		s := (*step)(unsafe.Add(unsafe.Pointer(steps), i*unsafe.Sizeof(step{})))
		r, e := s.make()
		switch {
		case s.kind == split && e == 0 && r == 0:
			base = p.nFirst
			steps, n, i = p.second, p.nSecond, ^uintptr(0) // the next is 0
		case s.kind == attempt && e != 0:
			// That a program is not in one place is no news if another is not allowed.
			if worst == 0 || worst == unix.ENOENT {
				worst = e
			}
			if i+1 == n {
				fail(p, base+i, worst)
			}
		case e != 0:
			fail(p, base+i, e)
		case s.want != anyResult && r != s.want:
			fail(p, base+i, unix.EBADMSG)
		}
	}
	for {
		_, _ = p.exit.make()
	}
}

// fail tells the server which step has failed, and ends the process.
//
//go:norace
//go:nosplit
func fail(p *program, number uintptr, errno syscall.Errno) {
	*(*uint32)(unsafe.Pointer(&p.report[1])) = uint32(number)
	*(*uint32)(unsafe.Pointer(&p.report[5])) = uint32(errno)
	_, _ = p.failure.make()
	for {
		_, _ = p.exit.make()
	}
}
