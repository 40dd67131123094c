package enginetest

import "golang.org/x/sys/unix"

// System calls that not every machine has.
const (
	forkNumber  = unix.SYS_FORK
	vforkNumber = unix.SYS_VFORK
)
