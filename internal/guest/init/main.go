package guestinit

import (
	"fmt"
	"math"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// listenFD is the descriptor of the listening socket that the engine leaves.
const listenFD = 3

// Main runs the keeper until it has nothing to keep, and returns the exit
// status. The caller has locked the goroutine to the process's first thread.
func Main() int { return run(newKeeper) }

// MainContained is Main for a keeper with protocol.ContainedArg.
func MainContained() int { return run(newContainedKeeper) }

func run(start func(fd int) (*keeper, error)) int {
	debug.SetGCPercent(50)
	unix.Umask(0o022)
	// Whatever the engine's process had open is not for the interpreter.
	_ = unix.CloseRange(listenFD, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	k, err := start(listenFD)
	if err == nil {
		err = k.loop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "remuda-init:", err)
		return 1
	}
	return 0
}

// killAll kills every process of the sandbox but this one.
func (k *keeper) killAll() {
	if k.parent == nil {
		_ = unix.Kill(-1, unix.SIGKILL)
		return
	}
	if f := k.child; f != nil && f.first > 0 {
		_ = unix.PidfdSendSignal(f.pidfd, unix.SIGKILL, nil, 0) // and with it all others
	}
}
