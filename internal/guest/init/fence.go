package guestinit

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// spareThreads is how many threads are started while that is still sure to
// work: a script that uses up the limit of processes must not be able to make
// the Go runtime fail to start one.
const spareThreads = 6

// startThreads leaves that many threads idle in the runtime's pool. Goroutines
// locked to threads force it to make one for each.
func startThreads() error {
	var locked, unlocked sync.WaitGroup
	locked.Add(spareThreads)
	unlocked.Add(spareThreads)
	release := make(chan struct{})
	for range spareThreads {
		go func() {
			runtime.LockOSThread()
			locked.Done()
			<-release
			runtime.UnlockOSThread()
			unlocked.Done()
		}()
	}
	locked.Wait()
	close(release)
	unlocked.Wait()
	return nil
}

// fence empties the capability bounding set of this thread, from which the
// interpreter is forked, and installs the system call filter, with the flag
// SECCOMP_FILTER_FLAG_TSYNC on all threads.
func fence(program []byte, flags uintptr) error {
	for c := uintptr(0); ; c++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break // the kernel knows no such capability
		}
		if err != nil {
			return os.NewSyscallError("prctl PR_CAPBSET_DROP", err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl PR_SET_NO_NEW_PRIVS", err)
	}
	if len(program) == 0 {
		return nil
	}
	const size = int(unsafe.Sizeof(unix.SockFilter{}))
	if len(program)%size != 0 || len(program)/size > 4096 {
		return fmt.Errorf("a system call filter of %d bytes is no program", len(program))
	}
	filter := unix.SockFprog{Len: uint16(len(program) / size), Filter: (*unix.SockFilter)(unsafe.Pointer(unsafe.SliceData(program)))}
	r, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&filter)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	if r != 0 {
		return fmt.Errorf("seccomp: thread %d could not take the system call filter", r)
	}
	return nil
}

// keptCapabilities is all that the keeper may still do, in its own user
// namespace: signal the interpreter, serve files that belong to it.
const keptCapabilities = 1<<unix.CAP_KILL | 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE

// dropPrivileges gives up the rest, on every thread, and closes this process to
// inspection by others.
func dropPrivileges(kept uint32) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: kept, Permitted: kept}}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 {
		return os.NewSyscallError("capset", errno)
	}
	return os.NewSyscallError("prctl PR_SET_DUMPABLE", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}
