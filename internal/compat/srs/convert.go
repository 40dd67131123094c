package srs

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/scripts"
)

// Ids are UUIDs on this wire (remuda.UUID). They are taken in either case.

const runspacePrefix = "pcli-"

func runspaceID(id remuda.RunspaceID) string { return runspacePrefix + remuda.UUID(id) }

// runspaceUUID takes an id with and without its prefix.
func runspaceUUID(id string) string { return strings.TrimPrefix(strings.ToLower(id), runspacePrefix) }

// consoleID is the end of the UUID of a console's runspace (compat/srs.md A3).
func consoleID(id remuda.RunspaceID) string {
	uuid := remuda.UUID(id)
	return "wc" + uuid[len(uuid)-12:]
}

// timeForm has seven digits after the point (compat/srs.md A3).
const timeForm = "2006-01-02T15:04:05.0000000-07:00"

func timeText(t time.Time) string { return t.UTC().Format(timeForm) }

func each[From, To any](list []From, convert func(From) To) []To {
	out := make([]To, len(list))
	for i, v := range list {
		out[i] = convert(v)
	}
	return out
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// UnmarshalJSON takes what the document's Flag allows; null is false.
func (f *flag) UnmarshalJSON(data []byte) error {
	v, err := flagOf("", strings.Trim(string(data), `"`))
	*f = flag(v)
	return err
}

// flagOf reads a boolean as the vendor's clients write it. "" and null are false.
func flagOf(field, text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "1":
		return true, nil
	case "false", "0", "", "null":
		return false, nil
	}
	return false, remuda.Invalid(remuda.FieldError{Field: field, Message: "must be true or false"})
}

func runspaceToWire(rs remuda.Runspace) runspaceWire {
	w := runspaceWire{
		Name: rs.Label, ID: runspaceID(rs.ID), State: string(rs.State), RunVC: rs.RunConnection,
		VCScript: remuda.UUID(rs.ConnectionExecution), CreationTime: timeText(rs.CreatedAt),
	}
	if w.Name == "" {
		w.Name = rs.Name // of one made at another door
	}
	if rs.State == remuda.RunspaceError {
		w.Error = &errorWire{Code: codeOfRunspace(rs.ErrorCode), Message: theirIDs(rs.Error)}
	}
	return w
}

// Words of the wire.
const (
	stateRunning = "running"
	formatText   = "text"
	formatJSON   = "json"
)

// states are what the vendor calls an execution's states. Reasons tell apart what has
// the same one.
var states = map[remuda.ExecutionState]string{
	remuda.ExecutionQueued:   stateRunning,
	remuda.ExecutionRunning:  stateRunning,
	remuda.ExecutionSuccess:  "success",
	remuda.ExecutionError:    "error",
	remuda.ExecutionTimeout:  "error",
	remuda.ExecutionLost:     "error",
	remuda.ExecutionCanceled: "canceled",
}

func executionToWire(ex remuda.Execution) executionWire {
	w := executionWire{
		ID: remuda.UUID(ex.ID), RunspaceID: runspaceID(ex.Runspace), Name: ex.Name, Format: formatText,
		State: states[ex.State], StartTime: timeText(ex.CreatedAt),
	}
	if ex.Objects {
		w.Format = formatJSON
	}
	if ex.StartedAt != nil {
		w.StartTime = timeText(*ex.StartedAt)
	}
	if !ex.State.Final() {
		return w
	}
	if ex.EndedAt != nil {
		w.EndTime = timeText(*ex.EndedAt)
	}
	if ex.State != remuda.ExecutionSuccess {
		w.Reason = theirIDs(reasonOf(ex))
	}
	return w
}

// reasonOf is why an execution did not succeed: the exception's text, if there was
// one, and what we know besides.
func reasonOf(ex remuda.Execution) string {
	if ex.Error == nil {
		return ex.Reason
	}
	text := ex.Error.Type + ": " + ex.Error.Message
	switch {
	case ex.Reason == "":
		return text
	case ex.Error.Message != "" && strings.Contains(ex.Reason, ex.Error.Message):
		return ex.Reason
	}
	return text + " (" + ex.Reason + ")"
}

// executionRequest is what a client asks to be run in a runspace.
func executionRequest(rs remuda.Runspace, body executionCreate) (remuda.ExecutionRequest, error) {
	req := remuda.ExecutionRequest{
		Runspace: rs.ID, Script: body.Script, Name: value(body.Name), Streams: true,
		Objects: strings.EqualFold(value(body.Format), formatJSON), Parameters: map[string]json.RawMessage{},
	}
	seen := map[string]bool{}
	for i, p := range body.Parameters {
		if seen[p.Name] {
			return req, remuda.Invalid(remuda.FieldError{Field: fmt.Sprintf("script_parameters[%d].name", i), Message: "is given twice"})
		}
		seen[p.Name] = true
		if p.Script != nil && *p.Script != "" {
			req.ParameterScripts = append(req.ParameterScripts, remuda.ParameterScript{Name: p.Name, Script: *p.Script, Value: p.Value})
			continue
		}
		if p.Value == nil {
			p.Value = json.RawMessage("null")
		}
		req.Parameters[p.Name] = p.Value
	}
	return req, nil
}

func recordToWire(r remuda.StreamRecord) recordWire {
	return recordWire{Message: r.Message, Time: timeText(r.Time)}
}

func templateToWire(t scripts.ArgumentTemplate) templateWire {
	return templateWire{ID: t.ID, Runtime: t.Runtime, ResultType: t.ResultType, Template: t.Text, Placeholders: t.Placeholders}
}
