package native

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Every function here is pure: wire shape to words, or words to wire shape.

const mebibyte = 1 << 20

// value is what p points to, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// optional is nil for the zero value: what has no value is null on the wire.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func text[T ~string](v T) *string { return optional(string(v)) }

func each[From, To any](items []From, convert func(From) To) []To {
	out := make([]To, len(items)) // never nil: a list is [] on the wire
	for i, item := range items {
		out[i] = convert(item)
	}
	return out
}

// instant is a time as it is sent: UTC, whole microseconds.
func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

func instantOrNull(t *time.Time) *time.Time {
	if t == nil || t.IsZero() {
		return nil
	}
	u := instant(*t)
	return &u
}

// duration keeps what is more than 0 more than 0: no time at all means the default.
func duration(seconds float64) time.Duration {
	d := time.Duration(math.Round(seconds * float64(time.Second)))
	if d == 0 && seconds > 0 {
		return 1
	}
	return d
}

// orNone makes nil an empty list: a list is [] on the wire.
func orNone(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func orEmpty(m map[string]string) api.Env {
	if m == nil {
		return api.Env{}
	}
	return m
}

// oneLine encodes v without a line break, as an event's data must be.
func oneLine(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, remuda.Internal("encoding an event", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// submission is a request for an execution of either kind. The schema of each
// operation refuses what only the other one has.
type submission struct {
	api.ExecutionCreate

	Queue            *bool                 `json:"queue"`
	ParameterScripts []api.ParameterScript `json:"parameter_scripts"`
}

func executionRequest(b submission) (remuda.ExecutionRequest, error) {
	req := remuda.ExecutionRequest{
		Runtime: b.Runtime, Script: value(b.Script), CodeFile: value(b.CodeFile), Args: b.Args,
		Parameters: b.Parameters, Env: b.Env, Timeout: duration(value(b.TimeoutS)), Limits: resources(b.Limits), Identity: identity(b.Identity),
		Name: value(b.Name), Queue: value(b.Queue), Streams: value(b.Streams), Objects: value(b.Objects), ParameterScripts: parameterScripts(b.ParameterScripts),
	}
	var fields []remuda.FieldError
	bad := func(field, message string) {
		fields = append(fields, remuda.FieldError{Field: field, Message: message})
	}
	switch {
	case b.Script == nil && b.CodeFile == nil:
		bad("script", "is required, or code_file")
	case b.Script != nil && b.CodeFile != nil:
		bad("code_file", "must not be given together with script")
	case b.Script != nil && *b.Script == "":
		// An empty program is one that does nothing; the words cannot tell it
		// from no program.
		req.Script = "\n"
	}
	if len(req.Script) > remuda.MaxScriptBytes {
		bad("script", fmt.Sprintf("must have at most %d bytes", remuda.MaxScriptBytes))
	}
	req.Stdin = b.StdinBase64
	if b.Stdin != nil {
		req.Stdin = []byte(*b.Stdin)
		if b.StdinBase64 != nil {
			bad("stdin_base64", "must not be given together with stdin")
		}
	}
	if len(req.Stdin) > remuda.MaxStdinBytes {
		bad("stdin", fmt.Sprintf("must have at most %d bytes", remuda.MaxStdinBytes))
	}
	for i, f := range b.Files {
		field := fmt.Sprintf("files[%d]", i)
		content := f.ContentBase64
		switch {
		case f.Content != nil && f.ContentBase64 != nil:
			bad(field+".content_base64", "must not be given together with content")
		case f.Content == nil && f.ContentBase64 == nil:
			bad(field+".content", "is required, or content_base64")
		case f.Content != nil:
			content = []byte(*f.Content)
		}
		if message := filePathProblem(f.Path); message != "" {
			bad(field+".path", message)
		}
		req.Files = append(req.Files, remuda.File{Path: f.Path, Content: content})
	}
	fields = append(fields, bindings(b)...)
	if b.Egress != nil {
		e, wrong := egress("egress", *b.Egress)
		req.Egress, fields = &e, append(fields, wrong...)
	}
	if len(fields) > 0 {
		return remuda.ExecutionRequest{}, remuda.Invalid(fields...)
	}
	return req, nil
}

// parameterScripts is nil for none.
func parameterScripts(list []api.ParameterScript) []remuda.ParameterScript {
	if len(list) == 0 {
		return nil
	}
	return each(list, func(p api.ParameterScript) remuda.ParameterScript {
		return remuda.ParameterScript{Name: p.Name, Script: p.Script, Value: p.Value}
	})
}

// bindings names the parameters that would be bound twice, and scripts that are
// too large.
func bindings(b submission) (wrong []remuda.FieldError) {
	seen := map[string]string{}
	for name := range b.Parameters {
		seen[name] = "parameters; give a value that the script shall see as argument here as `value`"
	}
	for i, p := range b.ParameterScripts {
		at := fmt.Sprintf("parameter_scripts[%d]", i)
		if where := seen[p.Name]; where != "" {
			wrong = append(wrong, remuda.FieldError{Field: at + ".name", Message: fmt.Sprintf("names %q, which is also in %s", p.Name, where)})
		}
		seen[p.Name] = at
		if len(p.Script) > remuda.MaxScriptBytes {
			wrong = append(wrong, remuda.FieldError{Field: at + ".script", Message: fmt.Sprintf("must have at most %d bytes", remuda.MaxScriptBytes)})
		}
	}
	return wrong
}

func executionWire(ex remuda.Execution) api.Execution {
	out := api.Execution{
		Id: string(ex.ID), State: api.ExecutionState(ex.State), Runtime: string(ex.Runtime), RuntimeName: ex.RuntimeName,
		Runspace: text(ex.Runspace), Instance: text(ex.Instance), Generation: ex.Generation, Fresh: ex.Fresh, Owner: string(ex.Owner),
		Warm: ex.Warm, Narrowed: orNone(ex.Narrowed), ColdReason: optional(ex.ColdReason),
		ExitCode: ex.ExitCode, KilledBy: optional(api.KilledBy(ex.KilledBy)), Reason: optional(ex.Reason),
		Usage: api.Usage{
			CpuS: ex.Usage.CPU.Seconds(), WallS: ex.Usage.Wall.Seconds(), PeakMemoryMb: float64(ex.Usage.PeakMemory) / mebibyte,
		},
		TimingsUs: make(map[string]int64, len(ex.Timings)), OutputBytes: ex.OutputBytes, OutputCutBytes: ex.OutputCut,
		Name: ex.Name, System: ex.System, Objects: ex.Objects,
		CreatedAt: instant(ex.CreatedAt), StartedAt: instantOrNull(ex.StartedAt), EndedAt: instantOrNull(ex.EndedAt),
	}
	for stage, d := range ex.Timings {
		out.TimingsUs[stage] = d.Microseconds()
	}
	if v := ex.Value; v != nil {
		out.Value = &api.Value{Json: v.JSON, Text: v.Text, Rich: v.Rich}
	}
	if e := ex.Error; e != nil {
		out.Error = &api.ScriptError{Type: e.Type, Message: e.Message, Traceback: e.Traceback}
	}
	return out
}

func outputWire(p remuda.OutputPage) api.OutputPage {
	return api.OutputPage{Records: each(p.Records, recordWire), Next: p.Next, Truncated: p.Truncated, CutBytes: p.Cut, Ended: p.Ended}
}

// recordWire sends bytes that are UTF-8 as text and all others, also those where
// a record's end cuts a character in two, as base64: never a byte is replaced.
func recordWire(r remuda.OutputRecord) api.OutputRecord {
	out := api.OutputRecord{Seq: r.Seq, Stream: api.OutputRecordStream(r.Stream)}
	if utf8.Valid(r.Data) {
		s := string(r.Data)
		out.Data = &s
		return out
	}
	out.DataBase64 = r.Data
	return out
}

func streamRecordWire(r remuda.StreamRecord) api.StreamRecord {
	return api.StreamRecord{Seq: r.Seq, Time: instantOrNull(&r.Time), Message: r.Message}
}

// objectWire reads an object as the sandbox has sent it. What has another form, a
// script has made up; it is shown as a text.
func objectWire(text string) api.OutputObject {
	text = strings.ToValidUTF8(text, "\uFFFD")
	var o struct {
		TypeName   string
		Interfaces []string
		Value      json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &o); err != nil || o.Value == nil {
		raw, _ := json.Marshal(text) // a string has a JSON form
		return api.OutputObject{Interfaces: []string{}, Value: raw}
	}
	return api.OutputObject{Type: o.TypeName, Interfaces: orNone(o.Interfaces), Value: o.Value}
}

// runspaceRequest refuses credentials that nothing would get: whoever sends some
// believes that a script logs in with them.
func runspaceRequest(b api.RunspaceCreate) (remuda.RunspaceRequest, error) {
	req := remuda.RunspaceRequest{
		Runtime: b.Runtime, Name: value(b.Name), Env: b.Env, InitScript: value(b.InitScript), IdleTimeout: durationOf(b.IdleTimeoutS),
		ActiveTimeout: durationOf(b.ActiveTimeoutS), MemoryMB: value(b.MemoryMb), RunConnection: value(b.Connection), Credentials: passedOn(b.Credentials),
	}
	if b.Credentials != nil && !req.RunConnection {
		return req, remuda.Invalid(remuda.FieldError{Field: "credentials", Message: "are for the connection script, which is not asked for; give `connection: true` too"})
	}
	return req, nil
}

// durationOf is nil where nothing is given.
func durationOf(seconds *float64) *time.Duration {
	if seconds == nil {
		return nil
	}
	d := duration(*seconds)
	return &d
}

func passedOn(c *api.Credentials) remuda.Credentials { return remuda.Credentials(value(c)) }

func runspaceWire(rs remuda.Runspace) api.Runspace {
	return api.Runspace{
		Id: string(rs.ID), Name: rs.Name, State: api.RunspaceState(rs.State), Runtime: string(rs.Runtime), RuntimeName: rs.RuntimeName,
		Generation: rs.Generation, Instance: text(rs.Instance), Owner: string(rs.Owner), IdleTimeoutS: rs.IdleTimeout.Seconds(),
		ActiveTimeoutS: rs.ActiveTimeout.Seconds(), MemoryMb: optional(rs.MemoryMB), Connection: rs.RunConnection, ConnectionExecution: text(rs.ConnectionExecution),
		Resets: rs.Resets, ErrorCode: text(rs.ErrorCode), Error: optional(rs.Error), CreatedAt: instant(rs.CreatedAt), LastUsedAt: instantOrNull(&rs.LastUsedAt), EndedAt: instantOrNull(rs.EndedAt),
	}
}

func fileWire(f remuda.FileInfo) api.FileEntry {
	kind := api.FileEntryTypeOther
	switch f.Mode.Type() {
	case 0:
		kind = api.FileEntryTypeFile
	case fs.ModeDir:
		kind = api.FileEntryTypeDirectory
	case fs.ModeSymlink:
		kind = api.FileEntryTypeSymlink
	}
	return api.FileEntry{Path: f.Path, Type: kind, Size: f.Size, Mode: fmt.Sprintf("%04o", f.Mode.Perm()), ModifiedAt: instant(f.ModifiedAt)}
}

func interpreterWire(i engine.Interpreter) api.Interpreter {
	return api.Interpreter{Language: api.Language(i.Language), Version: i.Version, Path: i.Path}
}

func tokenWire(t remuda.Token) api.Token {
	return api.Token{
		Id: string(t.ID), Name: t.Name, Scope: api.Scope(t.Scope), User: string(t.User), Organization: string(t.Organization),
		ExpiresAt: instantOrNull(t.ExpiresAt), CreatedAt: instant(t.CreatedAt),
	}
}

func tokenCreatedWire(t remuda.Token, secret string) api.TokenCreated {
	return api.TokenCreated{
		Id: string(t.ID), Token: secret, Name: t.Name, Scope: api.Scope(t.Scope), User: string(t.User), Organization: string(t.Organization),
		ExpiresAt: instantOrNull(t.ExpiresAt), CreatedAt: instant(t.CreatedAt),
	}
}

func whoamiWire(p remuda.Principal) api.Whoami {
	return api.Whoami{
		User: string(p.User), UserName: p.UserName, Organization: string(p.Organization), Role: api.Role(p.Role),
		SiteAdmin: p.SiteAdmin, Scope: api.Scope(p.Scope), Token: text(p.Token),
	}
}

func organizationWire(o remuda.Organization) api.Organization {
	return api.Organization{Id: string(o.ID), Name: o.Name, CreatedAt: instant(o.CreatedAt), Policy: api.Policy{
		Isolations:    each(o.Policy.Isolations, func(i remuda.Isolation) api.Isolation { return api.Isolation(i) }),
		NetworkAllow:  each(o.Policy.Network.Allow, netip.Prefix.String),
		NetworkForbid: each(o.Policy.Network.Forbid, netip.Prefix.String),
		MaxInstances:  o.Policy.MaxInstances,
	}}
}

func policyPatch(b api.PolicyUpdate) (remuda.PolicyPatch, error) {
	patch := remuda.PolicyPatch{MaxInstances: b.MaxInstances}
	if b.Isolations != nil {
		classes := each(*b.Isolations, func(i api.Isolation) remuda.Isolation { return remuda.Isolation(i) })
		patch.Isolations = &classes
	}
	var wrong []remuda.FieldError
	read := func(field string, from *[]string, to **[]netip.Prefix) {
		if from == nil {
			return
		}
		list, bad := prefixes(field, *from)
		*to, wrong = &list, append(wrong, bad...)
	}
	read("policy.network_allow", b.NetworkAllow, &patch.Allow)
	read("policy.network_forbid", b.NetworkForbid, &patch.Forbid)
	if len(wrong) > 0 {
		return patch, remuda.Invalid(wrong...)
	}
	return patch, nil
}

func memberWire(m remuda.Member) api.Member {
	return api.Member{User: string(m.User), UserName: m.UserName, Role: api.Role(m.Role)}
}

func userWire(u remuda.User) api.User {
	return api.User{Id: string(u.ID), Name: u.Name, SiteAdmin: u.SiteAdmin, Disabled: u.Disabled, CreatedAt: instant(u.CreatedAt)}
}
