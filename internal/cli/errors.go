package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Exit statuses. `run` and `exec` pass the script's own status through and keep
// the ones from 124 on for themselves, as docker and timeout(1) do.
const (
	ExitOK        = 0
	ExitFailed    = 1   // it could not be done; the reason is on standard error
	ExitUsage     = 2   // the command line or a setting is wrong (125 with run and exec); nothing was done
	ExitTimeLimit = 124 // run, exec: the script was over its time limit
	ExitNoResult  = 125 // run, exec: the script did not run, or its end is not known
	ExitCanceled  = 130 // run, exec: canceled, by Ctrl-C or by somebody else
	ExitKilled    = 137 // run, exec: killed; the reason is on standard error
)

// exitStatus is returned by a command that has already said what there was to say.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// usageError is a wrong command line.
func usageError(cause, remedy string, args ...any) error {
	return &statusError{status: ExitUsage, err: &remuda.Error{Code: remuda.CodeInvalid, Message: "wrong usage", Cause: fmt.Sprintf(cause, args...), Remedy: remedy}}
}

// statusError gives an error an exit status of its own.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// noResult marks every failure of our own in run and exec, so that it cannot be
// taken for the script's exit status.
func noResult(err error) error {
	var status exitStatus
	if err == nil || errors.As(err, &status) {
		return err
	}
	return &statusError{status: ExitNoResult, err: err}
}

// report prints an error and returns the exit status.
func (c *command) report(err error) int {
	if err == nil {
		return ExitOK
	}
	if status, ok := errors.AsType[exitStatus](err); ok {
		return int(status)
	}
	// Of several, all are told: the first one decides about the status.
	if several, ok := err.(interface{ Unwrap() []error }); ok { // a join of ours, not one that some error wraps
		status := ExitOK
		for _, one := range several.Unwrap() {
			if s := c.report(one); status == ExitOK {
				status = s
			}
		}
		return status
	}
	status := ExitFailed
	if s, ok := errors.AsType[*statusError](err); ok {
		status = s.status
	} else if remuda.CodeOf(err) == remuda.CodeInvalid {
		status = ExitUsage
	}
	c.printError(err)
	return status
}

// problem is how an error looks with -o json.
type problem struct {
	Code      remuda.Code         `json:"code"`
	Title     string              `json:"title"`
	Cause     string              `json:"cause,omitempty"`
	Remedy    string              `json:"remedy,omitempty"`
	Fields    []remuda.FieldError `json:"fields,omitempty"`
	RequestID string              `json:"request_id,omitempty"`
}

func describe(err error) problem {
	if p, ok := describeRemote(err); ok {
		return p
	}
	if e, ok := errors.AsType[*remuda.Error](err); ok {
		p := problem{Code: e.Code, Title: e.Message, Cause: e.Cause, Remedy: e.Remedy, Fields: e.Fields}
		// On one's own machine the private cause is no secret, and often the
		// only thing that helps.
		if p.Cause == "" && e.Err != nil && !strings.Contains(e.Message, e.Err.Error()) {
			p.Cause = e.Err.Error()
		}
		return p
	}
	if errors.Is(err, context.Canceled) {
		return problem{Code: remuda.CodeCanceled, Title: "stopped"}
	}
	return problem{Code: remuda.CodeInternal, Title: err.Error()}
}

// printError writes "error: what: why" and "remedy: ..." or, with -o json, the
// same as one object.
func (c *command) printError(err error) {
	p := describe(err)
	if c.output == outputJSON {
		_ = json.NewEncoder(c.Stderr).Encode(p) //nolint:errchkjson // there is nowhere left to report to
		return
	}
	writeProblem(c.Stderr, p)
}

func writeProblem(w io.Writer, p problem) {
	line := p.Title
	if p.Cause != "" && !strings.Contains(line, p.Cause) {
		line += ": " + p.Cause
	}
	_, _ = fmt.Fprintf(w, "error: %s\n", line)
	if len(p.Fields) > 1 || (len(p.Fields) == 1 && !strings.Contains(line, p.Fields[0].Message)) {
		for _, f := range p.Fields {
			_, _ = fmt.Fprintf(w, "  %s: %s\n", f.Field, f.Message)
		}
	}
	if p.Remedy != "" {
		_, _ = fmt.Fprintf(w, "remedy: %s\n", p.Remedy)
	}
	if p.Code == remuda.CodeInternal && p.RequestID != "" {
		_, _ = fmt.Fprintf(w, "request: %s\n", p.RequestID)
	}
}
