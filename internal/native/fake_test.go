package native

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/httpapi/apitest"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
)

var day = time.Date(2026, 11, 22, 8, 0, 0, 123456789, time.UTC)

// asking guards what stages remember; one lock serves all, so that a stage can be
// copied out of a table.
var asking sync.Mutex

// stage is every service, in memory and scripted: it remembers what it was asked
// and answers with canned objects, or with err.
type stage struct {
	asked  []any // arguments of the last call, principal excluded
	err    error
	panics bool

	final  bool                                    // executions have ended
	files  map[string]string                       // content by path
	output func(after int64) remuda.OutputPage     // scripted output
	say    func(page remuda.StreamPage) saying     // scripted messages
	onWait func(context.Context, time.Duration)    // what waiting does
	long   func() (remuda.FileInfo, io.ReadCloser) // what ReadFile gives instead of files
}

func (s *stage) note(args ...any) error {
	asking.Lock()
	defer asking.Unlock()
	s.asked = args
	if s.panics {
		panic("scripted: secret-of-the-server")
	}
	return s.err
}

func (s *stage) last() []any {
	asking.Lock()
	defer asking.Unlock()
	return s.asked
}

var tester = remuda.Principal{User: "usr_1", UserName: "ada", Organization: "org_1", Role: remuda.RoleAdministrator, SiteAdmin: true, Scope: remuda.ScopeWrite, Token: "tok_1"}

func unauthenticated() error {
	return &remuda.Error{Code: remuda.CodeUnauthenticated, Message: "the credentials are not valid", Remedy: "check them"}
}

func python() remuda.Runtime {
	return remuda.Runtime{ID: "rt_1", Organization: remuda.GlobalOrganization, Generation: 3, Serving: 3, CreatedAt: day, UpdatedAt: day, Build: remuda.Build{Status: remuda.RuntimeReady, Version: "3.11.2"}, Definition: remuda.Definition{
		Name: "python", Language: remuda.LanguagePython, Environment: "host", VersionPolicy: remuda.VersionExact, Isolation: remuda.IsolationProcess, Resources: remuda.Resources{CPU: 0.5, MemoryMB: 128, DiskMB: 64, Pids: 32},
		ExecTimeout: 30 * time.Second, Pool: remuda.PoolBounds{MinCached: 1, MaxCached: 2},
	}}
}

func (s *stage) CreateRuntime(_ context.Context, _ remuda.Principal, d remuda.Definition) (remuda.Runtime, error) {
	return python(), s.note(d)
}

func (s *stage) ListRuntimes(_ context.Context, _ remuda.Principal, name string, page remuda.Page) ([]remuda.Runtime, string, error) {
	return []remuda.Runtime{python()}, "more", s.note(name, page)
}

func (s *stage) GetRuntime(_ context.Context, _ remuda.Principal, ref string) (remuda.Runtime, error) {
	if ref == "absent" {
		return remuda.Runtime{}, remuda.NotFound("runtime", ref)
	}
	return python(), s.note(ref)
}

func (s *stage) UpdateRuntime(_ context.Context, _ remuda.Principal, ref string, patch remuda.RuntimePatch) (remuda.Runtime, error) {
	return python(), s.note(ref, patch)
}

func (s *stage) DeleteRuntime(_ context.Context, _ remuda.Principal, ref string, how remuda.Deletion) error {
	return s.note(ref, how)
}

func (s *stage) WaitRuntime(_ context.Context, _ remuda.Principal, ref string, d time.Duration) (remuda.Runtime, error) {
	return python(), s.note(ref, d)
}

// build is one that goes on, or has failed.
func (s *stage) build() remuda.Build {
	b := remuda.Build{
		Key: remuda.GenerationKey{Runtime: "rt_1", Number: 4}, Status: remuda.RuntimeBusy, Version: "3.11.2", StartedAt: day,
		Packages: []remuda.PackageStatus{{Package: remuda.Package{Name: "numpy", Version: "latest", Manager: remuda.ManagerPip}, State: remuda.PackageInstalling, Resolved: "2.3"}},
	}
	if s.final {
		b.Status, b.Reason, b.EndedAt = remuda.RuntimeError, "no such package", day
		b.Packages[0].State, b.Packages[0].Message = remuda.PackageNotInstalled, "gone"
		b.Lock.Packages = []remuda.Locked{{Manager: remuda.ManagerPip, Name: "numpy", Version: "2.3", Hashes: []string{"sha256:1"}}}
	}
	return b
}

func (s *stage) RebuildRuntime(_ context.Context, _ remuda.Principal, ref string, refresh bool) (remuda.Runtime, error) {
	rt := python()
	rt.Serving, rt.Build = 3, s.build()
	return rt, s.note(ref, refresh)
}

func (s *stage) ListBuilds(_ context.Context, _ remuda.Principal, ref string, page remuda.Page) ([]remuda.Build, string, error) {
	return []remuda.Build{s.build()}, "more", s.note(ref, page)
}

func (s *stage) GetBuild(_ context.Context, _ remuda.Principal, ref string, number int) (remuda.Build, error) {
	return s.build(), s.note(ref, number)
}

func (s *stage) BuildLog(_ context.Context, _ remuda.Principal, ref string, number int, after int64, maxBytes int, wait time.Duration) (remuda.OutputPage, remuda.Build, error) {
	page := remuda.OutputPage{Records: []remuda.OutputRecord{{Seq: after + 1, Stream: remuda.StreamStdout, Data: []byte("Collecting numpy\n")}}, Next: after + 1}
	page.Ended = s.final && after > 0
	return page, s.build(), s.note(ref, number, after, maxBytes, wait)
}

func (s *stage) RuntimeVersions(_ context.Context, _ remuda.Principal, l remuda.Language) ([]engine.Interpreter, error) {
	return []engine.Interpreter{{Language: l, Version: "3.11.2", Path: "/usr/bin/x"}}, s.note(l)
}

func (s *stage) runspace() remuda.Runspace {
	rs := remuda.Runspace{ID: "rs_1", Name: "lab", Owner: "usr_1", Runtime: "rt_1", RuntimeName: "python", Generation: 3, State: remuda.RunspaceCreating, IdleTimeout: time.Minute, CreatedAt: day, Env: map[string]string{"KEY": "env-secret"},
		ActiveTimeout: time.Hour, MemoryMB: 64, RunConnection: true, ConnectionExecution: "ex_9", Resets: 2}
	if s.final {
		rs.State, rs.Instance, rs.LastUsedAt = remuda.RunspaceReady, "ins_1", day
	}
	return rs
}

func (s *stage) CreateRunspace(_ context.Context, _ remuda.Principal, req remuda.RunspaceRequest) (remuda.Runspace, error) {
	rs := s.runspace()
	rs.State = remuda.RunspaceCreating
	return rs, s.note(req)
}

func (s *stage) ListRunspaces(_ context.Context, _ remuda.Principal, page remuda.Page) ([]remuda.Runspace, string, error) {
	return []remuda.Runspace{s.runspace()}, "", s.note(page)
}

func (s *stage) GetRunspace(_ context.Context, _ remuda.Principal, id remuda.RunspaceID) (remuda.Runspace, error) {
	return s.runspace(), s.note(id)
}

func (s *stage) WaitRunspace(ctx context.Context, _ remuda.Principal, id remuda.RunspaceID, d time.Duration) (remuda.Runspace, error) {
	if s.onWait != nil {
		s.onWait(ctx, d)
	}
	return s.runspace(), s.note(id, d)
}

func (s *stage) DeleteRunspace(_ context.Context, _ remuda.Principal, id remuda.RunspaceID) error {
	return s.note(id)
}

func (s *stage) InterruptRunspace(_ context.Context, _ remuda.Principal, id remuda.RunspaceID) (remuda.Runspace, error) {
	return s.runspace(), s.note(id)
}

func (s *stage) ResetRunspace(_ context.Context, _ remuda.Principal, id remuda.RunspaceID, req runspaces.ResetRequest) (remuda.Runspace, error) {
	rs := s.runspace()
	rs.State = remuda.RunspaceCreating
	return rs, s.note(id, req)
}

func (s *stage) ReadFile(_ context.Context, _ remuda.Principal, id remuda.RunspaceID, path string) (remuda.FileInfo, io.ReadCloser, error) {
	err := s.note(id, path)
	if s.long != nil {
		info, content := s.long()
		return info, content, err
	}
	content, ok := s.files[path]
	if !ok {
		return remuda.FileInfo{}, nil, remuda.NotFound("file", path)
	}
	return remuda.FileInfo{Path: path, Size: int64(len(content)), Mode: 0o644, ModifiedAt: day}, io.NopCloser(strings.NewReader(content)), err
}

func (s *stage) WriteFile(_ context.Context, _ remuda.Principal, id remuda.RunspaceID, path string, content io.Reader) (remuda.FileInfo, error) {
	data, err := io.ReadAll(content)
	if err != nil {
		return remuda.FileInfo{}, remuda.Internal("writing", err)
	}
	return remuda.FileInfo{Path: path, Size: int64(len(data)), Mode: 0o644, ModifiedAt: day}, s.note(id, path, string(data))
}

func (s *stage) ListFiles(_ context.Context, _ remuda.Principal, id remuda.RunspaceID, path string) ([]remuda.FileInfo, error) {
	return []remuda.FileInfo{{Path: "a", Size: 1, Mode: 0o600, ModifiedAt: day}}, s.note(id, path)
}

func (s *stage) DeleteFile(_ context.Context, _ remuda.Principal, id remuda.RunspaceID, path string) error {
	return s.note(id, path)
}

func (s *stage) execution() remuda.Execution {
	ex := remuda.Execution{ID: "ex_1", Owner: "usr_1", Runtime: "rt_1", RuntimeName: "python", Generation: 3, State: remuda.ExecutionQueued, CreatedAt: day}
	if s.final {
		code, end := 1, day.Add(time.Second)
		ex.State, ex.Instance, ex.Fresh, ex.ExitCode, ex.EndedAt, ex.StartedAt = remuda.ExecutionError, "ins_1", true, &code, &end, &end
		ex.KilledBy, ex.Reason, ex.Value = remuda.KilledByMemory, "it was too large", &remuda.Value{JSON: []byte(`{"a":1}`), Text: "{'a': 1}", Rich: map[string]string{"image/png": "AA=="}}
		ex.Error = &remuda.ScriptError{Type: "ValueError", Message: "no", Traceback: "line 1"}
		ex.Usage = remuda.Usage{CPU: time.Millisecond, Wall: time.Second, PeakMemory: 3 << 19}
		ex.Timings = remuda.Timings{"run": 1500 * time.Nanosecond, "total": time.Second}
	}
	return ex
}

func (s *stage) SubmitExecution(ctx context.Context, _ remuda.Principal, req remuda.ExecutionRequest, wait time.Duration) (remuda.Execution, error) {
	if s.onWait != nil {
		s.onWait(ctx, wait)
	}
	ex := s.execution()
	ex.Runspace = req.Runspace
	return ex, s.note(req, wait)
}

func (s *stage) RunExecution(_ context.Context, _ remuda.Principal, req remuda.ExecutionRequest, _ func() bool) (func() (remuda.Execution, error), error) {
	return func() (remuda.Execution, error) { return s.execution(), nil }, s.note(req)
}

func (s *stage) ListExecutions(_ context.Context, _ remuda.Principal, f remuda.ExecutionFilter, page remuda.Page) ([]remuda.Execution, string, error) {
	return []remuda.Execution{s.execution()}, "", s.note(f, page)
}

func (s *stage) GetExecution(_ context.Context, _ remuda.Principal, id remuda.ExecutionID) (remuda.Execution, error) {
	return s.execution(), s.note(id)
}

func (s *stage) WaitExecution(ctx context.Context, _ remuda.Principal, id remuda.ExecutionID, d time.Duration) (remuda.Execution, error) {
	if s.onWait != nil {
		s.onWait(ctx, d)
	}
	return s.execution(), s.note(id, d)
}

func (s *stage) CancelExecution(_ context.Context, _ remuda.Principal, id remuda.ExecutionID) (remuda.Execution, error) {
	return s.execution(), s.note(id)
}

func (s *stage) Output(ctx context.Context, _ remuda.Principal, id remuda.ExecutionID, after int64, maxBytes int, wait time.Duration) (remuda.OutputPage, error) {
	if err := ctx.Err(); err != nil {
		return remuda.OutputPage{}, err
	}
	err := s.note(id, after, maxBytes, wait)
	if s.output == nil {
		return remuda.OutputPage{Next: after, Ended: true}, err
	}
	return s.output(after), err
}

func login() remuda.Script {
	return remuda.Script{ID: "scr_1", Owner: "usr_1", Revision: 2, CreatedAt: day, UpdatedAt: day, ScriptDefinition: remuda.ScriptDefinition{
		Name: "log in", Kind: remuda.ScriptPython, Content: "connect($host)", Variables: []remuda.ScriptVariable{
			{ID: "V1", Name: "host", Kind: remuda.VariableText, Value: "db", Editable: true}, {ID: "V2", Name: "key", Kind: remuda.VariableSecret, Value: "secret-of-the-server"},
		},
	}}
}

func (s *stage) CreateScript(_ context.Context, _ remuda.Principal, d remuda.ScriptDefinition) (remuda.Script, error) {
	return login(), s.note(d)
}

func (s *stage) ListScripts(_ context.Context, _ remuda.Principal, name string, page remuda.Page) ([]remuda.Script, string, error) {
	return []remuda.Script{login()}, "more", s.note(name, page)
}

func (s *stage) GetScript(_ context.Context, _ remuda.Principal, ref string) (remuda.Script, error) {
	return login(), s.note(ref)
}

func (s *stage) UpdateScript(_ context.Context, _ remuda.Principal, ref string, patch remuda.ScriptPatch) (remuda.Script, error) {
	return login(), s.note(ref, patch)
}

func (s *stage) DeleteScript(_ context.Context, _ remuda.Principal, ref string) error {
	return s.note(ref)
}

// saying is an answer of StreamRecords.
type saying struct {
	records []remuda.StreamRecord
	next    int64
	ended   bool
}

func (s *stage) StreamRecords(ctx context.Context, _ remuda.Principal, id remuda.ExecutionID, stream remuda.Stream, page remuda.StreamPage) ([]remuda.StreamRecord, int64, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, false, err
	}
	err := s.note(id, stream, page)
	if s.say == nil {
		return nil, page.After, true, err
	}
	said := s.say(page)
	return said.records, said.next, said.ended, err
}

func (s *stage) OutputObjects(_ context.Context, _ remuda.Principal, id remuda.ExecutionID) ([]string, bool, error) {
	return []string{`{"TypeName":"builtins.int","Interfaces":["numbers.Number"],"Value":1}`, `{"TypeName":"NoneType","Interfaces":null,"Value":null}`, `{"Value":`, `[1]`, `{"TypeName":"x"}`}, true, s.note(id)
}

func (s *stage) OutputText(_ context.Context, _ remuda.Principal, id remuda.ExecutionID) (string, bool, error) {
	return "hello\n42", true, s.note(id)
}

// handler serves s; everything that goes through it is held against the document.
func (s *stage) handler(t testing.TB, o httpapi.Options) http.Handler {
	t.Helper()
	return apitest.Middleware(t, s.bare(t, o))
}

// bare serves s.
func (s *stage) bare(t testing.TB, o httpapi.Options) http.Handler {
	t.Helper()
	if o.Metrics == nil {
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			_, _ = io.WriteString(w, "up 1\n")
		})
	}
	o.Version = "test"
	h, err := Handler(Services{Authenticator: s, Tokens: s, Organizations: s, Users: s, Runtimes: s, Runspaces: s, Files: s, Executions: s, Terminals: s, Scripts: s}, o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// do sends one request through a handler.
func do(h http.Handler, method, url, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, url, bytes.NewReader([]byte(body)))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	} else {
		r.ContentLength = 0
	}
	r.Header.Set("Authorization", "Bearer good")
	for i := 0; i+1 < len(header); i += 2 {
		if header[i+1] == "" {
			r.Header.Del(header[i])
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

type (
	ctxt    = context.Context
	rawJSON = json.RawMessage
)
