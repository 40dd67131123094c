package cli

import (
	"context"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Env is everything that a command may touch outside itself.
type Env struct {
	Args    []string // without the program's name
	Environ []string // NAME=value
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	// Signals delivers SIGINT and SIGTERM. The first one asks the command to
	// end, the second one to hurry. nil never delivers any.
	Signals <-chan os.Signal
	Version string
}

// lookup finds a variable.
func (e *Env) lookup(name string) (string, bool) {
	for _, line := range e.Environ {
		if k, v, ok := strings.Cut(line, "="); ok && k == name {
			return v, true
		}
	}
	return "", false
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Run runs one command line to its end and returns the exit status. It waits
// for everything that it started.
func Run(ctx context.Context, env *Env) int {
	ctx, cancel := context.WithCancelCause(ctx)
	hurry, stop := watchSignals(env.Signals, cancel)
	c := &command{Env: env, hurry: hurry}
	status := c.report(c.execute(ctx))
	stop()
	cancel(nil)
	return status
}

// signalError is the cause of a context that a signal canceled.
type signalError struct{ signal os.Signal }

func (e signalError) Error() string { return "stopped by " + e.signal.String() }

// watchSignals cancels at the first signal and closes hurry at the second. stop
// ends the watching and waits for it.
func watchSignals(signals <-chan os.Signal, cancel context.CancelCauseFunc) (hurry <-chan struct{}, stop func()) {
	again, done, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for range 2 {
			select {
			case s := <-signals:
				cancel(signalError{s}) // the first cause stays
			case <-done:
				return
			}
		}
		close(again)
	}()
	return again, func() { close(done); <-ended }
}
