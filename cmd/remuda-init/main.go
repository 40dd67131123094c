// Command remuda-init is the first process of a sandbox and its keeper. It is
// started by an engine inside new namespaces with a listening socket as
// descriptor 3; see internal/guest/PROTOCOL.md. With the argument "launch" it is
// the engine's launcher (package engine/local/launch), with "contained" it has a
// container around it already, made by an OCI runtime (package engine/oci), with
// "join" it enters a sandbox for a terminal (package engine/local/join). It is of
// no use by hand.
package main

import (
	"os"
	"runtime"

	"github.com/remuda-run/remuda/internal/engine/local/join"
	"github.com/remuda-run/remuda/internal/engine/local/launch"
	guestinit "github.com/remuda-run/remuda/internal/guest/init"
	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// init keeps main on the process's first thread, whose namespaces and
// capabilities the interpreter inherits.
func init() { runtime.LockOSThread() }

func main() {
	if len(os.Args) == 2 && os.Args[1] == protocol.LaunchArg {
		runtime.UnlockOSThread()
		os.Exit(launch.Main(guestinit.Prepare))
	}
	if len(os.Args) == 2 && os.Args[1] == join.Arg {
		os.Exit(join.Main())
	}
	if len(os.Args) == 2 && os.Args[1] == protocol.ContainedArg {
		os.Exit(guestinit.MainContained())
	}
	os.Exit(guestinit.Main())
}
