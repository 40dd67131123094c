package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/client"
	"github.com/remuda-run/remuda/internal/remuda"
)

// scriptOutput passes output on as it comes, or keeps it for -o json.
type scriptOutput struct {
	stdout, stderr io.Writer
	keep           bool
	records        []remuda.OutputRecord
	midLine        bool // standard error does not stand at the beginning of a line
	closed         bool // standard output's reader has gone away
}

func (c *command) newOutput() *scriptOutput {
	return &scriptOutput{stdout: c.Stdout, stderr: c.Stderr, keep: c.output == outputJSON}
}

// sink takes one record.
func (o *scriptOutput) sink(r remuda.OutputRecord) error {
	if o.keep {
		r.Data = append([]byte(nil), r.Data...)
		o.records = append(o.records, r)
		return nil
	}
	switch r.Stream {
	case remuda.StreamStdout:
	case remuda.StreamStderr:
		if len(r.Data) > 0 {
			o.midLine = r.Data[len(r.Data)-1] != '\n'
		}
		_, err := o.stderr.Write(r.Data)
		return err
	case remuda.StreamObject:
		line, err := json.Marshal(client.Object(wireRecord(r)))
		if err != nil {
			return err
		}
		line = append(line, '\n')
		r.Data = line
	default:
		o.note(fmt.Sprintf("[%s] %s", r.Stream, multiline(string(r.Data))))
		return nil
	}
	if o.closed {
		return nil
	}
	if _, err := o.stdout.Write(r.Data); err != nil {
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed) {
			o.closed = true // `| head` has seen enough; the script runs on
			return nil
		}
		return err
	}
	return nil
}

// note writes a line of our own on standard error, never into the middle of one
// of the script's.
func (o *scriptOutput) note(text string) {
	if o.keep || text == "" {
		return
	}
	if o.midLine {
		text = "\n" + text
		o.midLine = false
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	_, _ = io.WriteString(o.stderr, text)
}

// runResult is what run and exec print with -o json: the execution and its
// output, both as the API has them.
type runResult struct {
	Execution api.Execution  `json:"execution"`
	Output    api.OutputPage `json:"output"`
}

// conclude says how a script ended and returns its exit status. definition is
// what is known of the limits, nil when a server knows them.
func (c *command) conclude(ex api.Execution, out *scriptOutput, definition *remuda.Definition) error {
	if out.keep {
		if err := c.print(runResult{Execution: ex, Output: out.page(ex)}, nil); err != nil {
			return err
		}
		return statusOf(ex)
	}
	if ex.OutputCutBytes > 0 {
		out.note(fmt.Sprintf("remuda: %d bytes of output over the limit were cut", ex.OutputCutBytes))
	}
	if ex.Error != nil {
		out.note(ex.Error.Traceback)
	}
	err := statusOf(ex)
	if deref(ex.KilledBy) != "" {
		out.note("remuda: " + killedText(ex, definition))
	} else if errors.Is(err, exitStatus(ExitNoResult)) {
		out.note(fmt.Sprintf("remuda: the execution ended as %s: %s", ex.State, deref(ex.Reason)))
	} else if ex.State == api.ExecutionState(remuda.ExecutionSuccess) && deref(ex.Reason) != "" {
		out.note("remuda: " + *ex.Reason)
	}
	return err
}

// statusOf is the exit status for the way an execution ended; nil is 0.
func statusOf(ex api.Execution) error {
	status := ExitNoResult
	killed := deref(ex.KilledBy)
	switch {
	case ex.State == api.ExecutionState(remuda.ExecutionTimeout) || killed == api.KilledBy(remuda.KilledByTime):
		status = ExitTimeLimit
	case ex.State == api.ExecutionState(remuda.ExecutionCanceled) || killed == api.KilledBy(remuda.KilledByCancel):
		status = ExitCanceled
	case ex.State == api.ExecutionState(remuda.ExecutionLost):
	case ex.ExitCode != nil: // it ended by itself, perhaps because of a limit
		status = *ex.ExitCode
	case killed != "":
		status = ExitKilled
	case ex.State == api.ExecutionState(remuda.ExecutionSuccess):
		status = ExitOK
	case ex.Error != nil:
		status = ExitFailed
	}
	if status == ExitOK {
		return nil
	}
	return exitStatus(status)
}

// killedText says what ended the script, with the limit when it is known.
func killedText(ex api.Execution, d *remuda.Definition) string {
	by := remuda.KilledBy(deref(ex.KilledBy))
	limit := ""
	if d != nil {
		switch by { //nolint:exhaustive // the others have no limit of the definition
		case remuda.KilledByMemory:
			limit = fmt.Sprintf("memory limit of %d MiB reached", d.Resources.MemoryMB)
		case remuda.KilledByTime:
			limit = fmt.Sprintf("time limit of %s reached", d.ExecTimeout)
		case remuda.KilledByPids:
			limit = fmt.Sprintf("limit of %d processes reached", d.Resources.Pids)
		case remuda.KilledByDisk:
			limit = fmt.Sprintf("disk limit of %d MiB reached", d.Resources.DiskMB)
		}
	}
	verb := "killed: "
	if ex.ExitCode != nil {
		verb = "" // it was not killed; it ran into the limit and ended
	}
	switch {
	case limit != "":
		return verb + limit
	case deref(ex.Reason) != "":
		return verb + *ex.Reason
	default:
		return verb + string(by)
	}
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// page is the output that was kept, as the API has it.
func (o *scriptOutput) page(ex api.Execution) api.OutputPage {
	page := api.OutputPage{Records: []api.OutputRecord{}, CutBytes: ex.OutputCutBytes, Truncated: ex.OutputCutBytes > 0, Ended: true}
	for _, r := range o.records {
		page.Records = append(page.Records, wireRecord(r))
		page.Next = r.Seq
	}
	return page
}
