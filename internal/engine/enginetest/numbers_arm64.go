package enginetest

// System calls that not every machine has.
const (
	forkNumber  = -1
	vforkNumber = -1
)
