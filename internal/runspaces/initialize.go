package runspaces

import (
	"context"
	"fmt"
	"strings"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// initialize runs the init script, if there is one.
func (s *Service) initialize(ctx context.Context, r *runspace, inst engine.Instance) error {
	row := r.state()
	if row.InitScript == "" {
		return nil
	}
	var last tail
	res, err := inst.Execute(ctx, engine.Request{
		ID: remuda.NewExecutionID(), Script: row.InitScript, Name: "init_script", Env: row.Env,
		Timeout: r.lease.Definition().ExecTimeout, OutputLimit: 1 << 20,
	}, last.add)
	if err != nil {
		return &remuda.Error{Code: remuda.CodeOf(err), Message: "the init script could not be run", Cause: remuda.Public(err), Err: err}
	}
	switch {
	case res.State != remuda.ExecutionSuccess:
		return &remuda.Error{Code: remuda.CodePrecondition, Message: "the init script failed: " + outcome(res) + last.text()}
	case res.Dead:
		return &remuda.Error{Code: remuda.CodePrecondition, Message: "the init script ended the sandbox: " + outcome(res)}
	}
	return nil
}

// outcome says in words how a script ended that did not succeed.
func outcome(res engine.Result) string {
	switch {
	case res.Error != nil:
		return strings.TrimSuffix(res.Error.Type+": "+res.Error.Message, ": ")
	case res.Reason != "":
		return res.Reason
	case res.ExitCode != nil:
		return fmt.Sprintf("exit code %d", *res.ExitCode)
	default:
		return "it ended in state " + string(res.State)
	}
}

// tail keeps the end of the standard error of an init script.
type tail struct{ data []byte }

const maxTail = 1024

func (t *tail) add(rec remuda.OutputRecord) error {
	if rec.Stream == remuda.StreamStderr {
		t.data = append(t.data, rec.Data...)
		t.data = t.data[max(0, len(t.data)-maxTail):]
	}
	return nil
}

func (t *tail) text() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(t.data), "?"))
	if text == "" {
		return ""
	}
	return "; the end of its standard error: " + text
}
