package strategy

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/scripts"
)

var statuses = map[remuda.ExecutionState]int{
	remuda.ExecutionQueued: 0, remuda.ExecutionRunning: 1, remuda.ExecutionSuccess: 3, remuda.ExecutionError: 4, remuda.ExecutionLost: 4,
	remuda.ExecutionTimeout: 5, remuda.ExecutionCanceled: 6,
}

func evaluationToWire(r scripts.Result) evaluationWire {
	w := evaluationWire{
		Status: statuses[r.Execution.State], Message: messageOfRun(r.Execution),
		Results: resultsWire{Output: output(r.Execution), Stdout: strings.ToValidUTF8(string(r.Stdout), "\uFFFD"), Stderr: stderr(r)},
	}
	return w
}

// output is the value of a script as JSON; of one that has no such form, its text.
func output(ex remuda.Execution) *string {
	switch {
	case ex.State != remuda.ExecutionSuccess || ex.Value == nil:
		return nil
	case ex.Value.JSON != nil:
		return new(string(ex.Value.JSON))
	}
	text, err := json.Marshal(ex.Value.Text)
	if err != nil { // a text; cannot fail
		return nil
	}
	return new(string(text))
}

// stderr is what the script wrote there and, as of a program of its own, the
// exception that ended it.
func stderr(r scripts.Result) string {
	text := strings.ToValidUTF8(string(r.Stderr), "\uFFFD")
	if r.Execution.Error == nil || r.Execution.Error.Traceback == "" {
		return text
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text + r.Execution.Error.Traceback
}

func messageOfRun(ex remuda.Execution) string {
	switch {
	case !ex.State.Final() || ex.State == remuda.ExecutionSuccess:
		return ""
	case ex.Error != nil && ex.Error.Message != "":
		return ex.Error.Type + ": " + ex.Error.Message
	case ex.Error != nil:
		return ex.Error.Type
	case ex.Reason != "":
		return ex.Reason
	case ex.ExitCode != nil:
		return fmt.Sprintf("the script ended with exit code %d", *ex.ExitCode)
	}
	return "the evaluation ended in state " + string(ex.State)
}

var lastStatuses = map[remuda.ExecutionState]string{remuda.ExecutionSuccess: "succeeded", remuda.ExecutionCanceled: "cancelled"}

func historyToWire(r scripts.Result) historyItemWire {
	at := r.Execution.CreatedAt
	if r.Execution.StartedAt != nil {
		at = *r.Execution.StartedAt
	}
	w := historyItemWire{ID: remuda.ShortID(r.Run.Script), ExecutionTime: at.UTC().Format("2006-01-02T15:04:05.000Z"), LastStatus: "failed"}
	if s, ok := lastStatuses[r.Execution.State]; ok {
		w.LastStatus = s
	}
	e := evaluationToWire(r)
	w.Log = e.Results.Stdout + e.Results.Stderr
	if w.Log == "" {
		w.Log = e.Message
	}
	return w
}
