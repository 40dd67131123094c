// Command remuda-init is the first process of a sandbox and its keeper. It is
// started by an engine inside new namespaces with a listening socket as
// descriptor 3; see internal/guest/PROTOCOL.md. It is of no use by hand.
package main

import (
	"os"
	"runtime"

	guestinit "github.com/remuda-run/remuda/internal/guest/init"
)

// init keeps main on the process's first thread, whose namespaces and
// capabilities the interpreter inherits.
func init() { runtime.LockOSThread() }

func main() { os.Exit(guestinit.Main()) }
