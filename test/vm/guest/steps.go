package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/remuda-run/remuda/test/vm"
	"golang.org/x/sys/unix"
)

const statusTimeout = 124

// outputCap bounds what one step may report; the rest is thrown away.
const outputCap = 4 << 20

// steps runs every step of the payload and reports on the second serial port.
func steps() error {
	port, err := openReport()
	if err != nil {
		return err
	}
	if err := enterSession(); err != nil {
		return err
	}
	text, err := os.ReadFile(payload + "/steps.json")
	if err != nil {
		return err
	}
	var list []vm.Step
	if err := json.Unmarshal(text, &list); err != nil {
		return fmt.Errorf("steps.json: %w", err)
	}
	for _, step := range list {
		if err := report(port, step); err != nil {
			return fmt.Errorf("report step %s: %w", step.Name, err)
		}
	}
	_, err = fmt.Fprintln(port, vm.DoneLine(len(list)))
	return err
}

func report(w io.Writer, step vm.Step) error {
	if _, err := fmt.Fprintln(w, vm.BeginLine(step.Name)); err != nil {
		return err
	}
	start := time.Now()
	status, err := runStep(w, step)
	if err != nil {
		if _, err := fmt.Fprintf(w, "guest: %v\n", err); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(w, vm.EndLine(step.Name, status, time.Since(start)))
	return err
}

// runStep runs one step to its end, its time limit or its limit of silence. A
// process that the step left behind and that holds its output open does not hold
// up the report.
func runStep(w io.Writer, step vm.Step) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(step.TimeoutSeconds)*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, step.Argv[0], step.Argv[1:]...)
	cmd.Dir = step.Dir
	cmd.Env = append(environment(), step.Env...)
	cmd.WaitDelay = 15 * time.Second // for what it says of its end
	// A dump of all goroutines says more about a hang than a killed process.
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGQUIT) }
	silence := time.Duration(step.SilenceSeconds) * time.Second
	hung := time.AfterFunc(silence, cancel)
	defer hung.Stop()
	lines := &lineWriter{w: w, left: outputCap, heard: func() { hung.Reset(silence) }}
	cmd.Stdout, cmd.Stderr = lines, lines
	err := cmd.Run()
	if ferr := lines.flush(); ferr != nil {
		return 1, ferr
	}
	if ctx.Err() != nil {
		return statusTimeout, fmt.Errorf("step %s did not end within %d s, or said nothing for %v", step.Name, step.TimeoutSeconds, silence)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// lineWriter passes on whole lines only, up to a number of bytes, so that a
// step can break neither the report's lines nor its bounds. os/exec writes to
// it from one goroutine, because stdout and stderr are the same writer.
type lineWriter struct {
	w    io.Writer
	held []byte
	left int

	heard func() // is called for every line
}

func (l *lineWriter) Write(p []byte) (int, error) {
	for _, c := range p {
		l.held = append(l.held, c)
		if c == '\n' || len(l.held) == bufio.MaxScanTokenSize/2 {
			if err := l.flush(); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

func (l *lineWriter) flush() error {
	line := l.held
	l.held = l.held[:0]
	l.heard()
	if len(line) == 0 || l.left == 0 {
		return nil
	}
	if line[len(line)-1] != '\n' {
		line = append(line, '\n')
	}
	if len(line) > l.left {
		line = []byte("guest: the rest of the output is cut\n")
		l.left = len(line)
	}
	l.left -= len(line)
	_, err := l.w.Write(line)
	return err
}

// openReport opens the second serial port without any treatment of the bytes.
func openReport() (*os.File, error) {
	port, err := os.OpenFile(reportPort, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	term, err := unix.IoctlGetTermios(int(port.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", reportPort, err)
	}
	term.Oflag &^= unix.OPOST
	term.Lflag = 0
	if err := unix.IoctlSetTermios(int(port.Fd()), unix.TCSETS, term); err != nil {
		return nil, fmt.Errorf("%s: %w", reportPort, err)
	}
	return port, nil
}

// enterSession puts this process where a login session is on a systemd machine:
// two levels down, with every controller offered by the levels above it.
func enterSession() error {
	const root = "/sys/fs/cgroup"
	const slice = root + "/user.slice"
	const session = slice + "/session-1.scope"
	if err := os.MkdirAll(session, 0o755); err != nil {
		return err
	}
	for _, dir := range []string{root, slice} {
		if err := os.WriteFile(dir+"/cgroup.subtree_control", []byte("+cpu +cpuset +io +memory +pids"), 0); err != nil {
			return fmt.Errorf("enable the controllers of %s: %w", dir, err)
		}
	}
	return os.WriteFile(session+"/cgroup.procs", []byte("0"), 0)
}
