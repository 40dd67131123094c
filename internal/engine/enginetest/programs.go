package enginetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What test/attempts tries through the whole product is, where it is the same
// attempt, the same program as here.

// SyscallAttempt is a system call that must be refused. The arguments are such
// that an unfiltered root process would get far with them.
type SyscallAttempt = syscallAttempt

// Syscalls returns the system calls that no instance may make, and the sockets
// of families that do not exist for it.
func Syscalls() (calls, families []SyscallAttempt) {
	families = familyAttempts()
	slices.SortFunc(families, func(a, b SyscallAttempt) int { return strings.Compare(a.Name, b.Name) })
	return syscallAttempts(), families
}

// LimitProgram is a Python program that wants more than there is. It writes Says
// before it meets the limit.
type LimitProgram struct{ Script, Says string }

// limitPrograms are those that enginetest tries with limits of its own.
var limitPrograms = map[string]LimitProgram{
	"memory":          {memoryBomb, "eating"},
	"memory in child": {childBomb, "eating"},
	"memfd":           {shmBomb, "eating"},
	"shared mapping":  {sharedBomb, "eating"},
	"forks":           {forkBomb, "stopped 11"},
	"threads":         {threadBomb, "stopped 11"},
	"one file":        {diskBomb, "stopped 28"},
	"several places":  {diskBombTwo, "stopped 28"},
	"image":           {diskBombLarge, "stopped 28"},
	"inodes":          {inodeBomb, "stopped 28"},
	"descriptors":     {descriptorBomb, "stopped 24"},
	"loop in C":       {loopInC, "spinning"},
	"regexp":          {loopInRegexp, "spinning"},
	"sparse":          {sparse, "['EFBIG', 'EFBIG', 'EFBIG']"},
}

// LimitPrograms returns the programs by name.
func LimitPrograms() map[string]LimitProgram { return maps.Clone(limitPrograms) }

// Sweep is a Python program that makes every system call there is, with no
// arguments to speak of, each in a child of its own. It prints how many it made
// and, as its last line, a JSON object from each number to what came of it: an
// error number, 0 for success, or minus the signal that ended the child.
func Sweep() string { return fmt.Sprintf(sweepScript, forkNumber, vforkNumber) }

const sweepScript = `
import ctypes, json, os, signal
libc = ctypes.CDLL(None, use_errno=True)
result = {}
numbers = [*range(0, 480), *range(512, 552), 1000, 65535, *range(0x40000000, 0x40000008), 0x7fffffff]
for n in numbers:
    if n in (%d, %d): continue  # fork and vfork return twice
    pid = os.fork()
    if pid == 0:
        signal.alarm(1)
        ctypes.set_errno(0)
        r = libc.syscall(ctypes.c_long(n), *[ctypes.c_long(0)] * 6)
        os._exit(ctypes.get_errno() if r == -1 else 0)
    # SIGSTOP and the like leave a child that never ends.
    status = os.waitpid(pid, 0)[1]
    result[n] = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
print("made", len(result))
print(json.dumps(result))
`
