// Command remuda is the whole product: the server, the client and the local
// runner. Everything is in internal/cli; here is only what belongs to a process.
package main

import (
	"context"
	"math"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/cli"
)

// version is set by the build.
var version = "dev"

func main() {
	// What the caller left open, such as a supervisor's socket, is for no process
	// that is started from here: a launcher would take descriptor 3 for its own.
	_ = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	// Two, because the second one means something: hurry.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// Without this a write to a pipe whose reader is gone (`| head`) ends the
	// process on the spot and leaves its sandbox behind. Caught rather than
	// ignored: what is ignored stays so in every process that is started.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(cli.Run(context.Background(), &cli.Env{
		Args: os.Args[1:], Environ: os.Environ(),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Signals: signals, Version: version,
	}))
}
