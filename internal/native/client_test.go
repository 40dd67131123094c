package native

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/client"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/httpapi/apitest"
	"github.com/remuda-run/remuda/internal/remuda"
)

// connect serves h and returns a client of it that holds every exchange against
// the document.
func connect(t *testing.T, h http.Handler) *client.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := client.New(srv.URL, "good", client.WithHTTPClient(&http.Client{Transport: apitest.Transport(t, srv.Client().Transport)}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// cutter ends connections after a few bytes of a stream, some number of times.
type cutter struct {
	http.Handler
	left atomic.Int64
	cuts atomic.Int64
}

func (c *cutter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Accept") == "text/event-stream" && c.left.Add(-1) >= 0 {
		c.cuts.Add(1)
		w = &cutWriter{ResponseWriter: w, room: 1500 + rand.IntN(3000)}
	}
	c.Handler.ServeHTTP(w, r)
}

type cutWriter struct {
	http.ResponseWriter
	room int
}

func (w *cutWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w *cutWriter) Write(b []byte) (int, error) {
	n := min(w.room, len(b))
	w.room -= n
	if _, err := w.ResponseWriter.Write(b[:n]); err != nil {
		return 0, err
	}
	if n < len(b) {
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

// TestOutputSurvivesDisconnects cuts the connection a hundred times in the
// middle of anything and wants every byte exactly once.
func TestOutputSurvivesDisconnects(t *testing.T) {
	t.Parallel()
	const cuts = 100
	rng := rand.New(rand.NewPCG(1, 2))
	var records []remuda.OutputRecord
	want := map[remuda.Stream]*bytes.Buffer{remuda.StreamStdout: {}, remuda.StreamStderr: {}}
	for i := range 1000 {
		data := make([]byte, rng.IntN(400))
		for j := range data {
			data[j] = byte(rng.IntN(256))
		}
		rec := remuda.OutputRecord{Seq: int64(i + 1), Stream: remuda.StreamStdout, Data: data}
		if i%3 == 0 {
			rec.Stream = remuda.StreamStderr
		}
		want[rec.Stream].Write(data)
		records = append(records, rec)
	}
	st := stage{output: tape(records, 2), final: true}
	cut := &cutter{Handler: st.bare(t, httpapi.Options{})}
	cut.left.Store(cuts)
	c := connect(t, cut)
	var stdout, stderr bytes.Buffer
	script := "x"
	ex, err := c.Run(context.Background(), client.ExecutionCreate{Runtime: "python", Script: &script}, &stdout, &stderr)
	if err != nil || ex.State != api.ExecutionStateError {
		t.Fatalf("state %q, %v", ex.State, err)
	}
	if !bytes.Equal(stdout.Bytes(), want[remuda.StreamStdout].Bytes()) || !bytes.Equal(stderr.Bytes(), want[remuda.StreamStderr].Bytes()) {
		t.Errorf("bytes were lost or doubled: %d and %d of %d and %d", stdout.Len(), stderr.Len(), want[remuda.StreamStdout].Len(), want[remuda.StreamStderr].Len())
	}
	if cut.cuts.Load() < cuts {
		t.Errorf("only %d connections were cut", cut.cuts.Load())
	}
}

// TestOutputStops covers the ends of a stream that are none of the server's.
func TestOutputStops(t *testing.T) {
	t.Parallel()
	st := stage{output: tape(threeRecords, 1), final: true}
	c := connect(t, st.bare(t, httpapi.Options{}))
	seen := 0
	for rec, err := range c.Output(context.Background(), "ex_1", 1) {
		if err != nil || rec.Seq != 2 {
			t.Errorf("record %d, %v", rec.Seq, err)
		}
		seen++
		break
	}
	if seen != 1 {
		t.Errorf("%d records after break", seen)
	}
	full := errors.New("full")
	if _, err := c.Follow(context.Background(), "ex_1", 0, func(client.OutputRecord) error { return full }); !errors.Is(err, full) {
		t.Errorf("the sink's error is lost: %v", err)
	}
	absent := fail(remuda.CodeNotFound)
	for _, err := range connect(t, absent.bare(t, httpapi.Options{})).Output(context.Background(), "ex_1", 0) {
		if !client.IsCode(err, "not_found") {
			t.Errorf("got %v", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	endless := stage{output: func(after int64) remuda.OutputPage {
		if after == 0 {
			return remuda.OutputPage{Records: threeRecords[:1], Next: 1}
		}
		cancel()
		<-ctx.Done()
		return remuda.OutputPage{Next: after}
	}}
	if _, err := connect(t, endless.bare(t, httpapi.Options{})).Follow(ctx, "ex_1", 0, func(client.OutputRecord) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestClientCallsEverything calls every operation through the client.
func TestClientCallsEverything(t *testing.T) {
	t.Parallel()
	st := stage{final: true, files: map[string]string{"d/ä b": "content"}}
	c := connect(t, st.bare(t, httpapi.Options{}))
	ctx := context.Background()
	script, role, page := "1", client.Role("monitor"), client.Page{Limit: 3, Cursor: "c"}
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	ex, err := c.CreateExecution(ctx, client.ExecutionCreate{Runtime: "python", Script: &script}, time.Second)
	check("execution", err)
	if !client.Final(ex.State) || ex.Value == nil || string(ex.Value.Json) != `{"a":1}` {
		t.Errorf("execution %+v", ex)
	}
	_, err = c.CreateRunspaceExecution(ctx, "rs_1", client.RunspaceExecutionCreate{Script: &script}, 10*time.Minute)
	check("runspace execution", err)
	_, err = c.ListExecutions(ctx, client.ExecutionFilter{Runtime: "python", State: "lost", Runspace: "rs_1"}, page)
	check("executions", err)
	_, err = c.WaitExecution(ctx, "ex_1")
	check("wait", err)
	_, err = c.CancelExecution(ctx, "ex_1")
	check("cancel", err)
	_, err = c.GetOutput(ctx, "ex_1", 1, 10, time.Second)
	check("output", err)
	_, err = c.GetStream(ctx, "ex_1", client.StreamWarning, client.MessagePage{After: 1, Last: 2, Limit: 3, Wait: time.Second})
	check("stream", err)
	_, err = c.FollowStream(ctx, "ex_1", client.StreamWarning, 0, func(client.StreamRecord) error { return nil })
	check("follow stream", err)
	objects, err := c.GetObjects(ctx, "ex_1")
	check("objects", err)
	if len(objects.Objects) == 0 || string(objects.Objects[0].Value) != "1" {
		t.Errorf("objects %+v", objects)
	}
	said, err := c.GetText(ctx, "ex_1")
	check("text", err)
	if said.Text != "hello\n42" || !said.Ended {
		t.Errorf("text %+v", said)
	}
	_, err = c.CreateRunspace(ctx, client.RunspaceCreate{Runtime: "python"}, time.Second)
	check("runspace", err)
	_, err = c.ListRunspaces(ctx, page)
	check("runspaces", err)
	_, err = c.GetRunspace(ctx, "rs_1", time.Second)
	check("get runspace", err)
	_, err = c.InterruptRunspace(ctx, "rs_1")
	check("interrupt", err)
	_, err = c.ResetRunspace(ctx, "rs_1", client.RunspaceReset{}, time.Second)
	check("reset", err)
	opened, err := c.OpenTerminal(ctx, "rs_1", client.TerminalCreate{Command: []string{"bash"}})
	check("terminal", err)
	if opened.Ticket != "rmtk_1" || opened.Console != "/console/terminals/trm_1" {
		t.Errorf("terminal %+v", opened)
	}
	_, err = c.ListTerminals(ctx, "rs_1")
	check("terminals", err)
	_, err = c.GetTerminal(ctx, "trm_1")
	check("get terminal", err)
	_, err = c.CreateTerminalTicket(ctx, "trm_1")
	check("ticket", err)
	check("close terminal", c.CloseTerminal(ctx, "trm_1"))
	check("delete runspace", c.DeleteRunspace(ctx, "rs_1"))
	_, err = c.ListFiles(ctx, "rs_1", "")
	check("files", err)
	_, err = c.ListFiles(ctx, "rs_1", "d")
	check("files of d", err)
	content, err := c.ReadFile(ctx, "rs_1", "d/ä b")
	check("read", err)
	if data, err := io.ReadAll(content); err != nil || string(data) != "content" {
		t.Errorf("read %q, %v", data, err)
	}
	entry, err := c.WriteFile(ctx, "rs_1", "n", bytes.NewReader([]byte("xyz")))
	check("write", err)
	if entry.Size != 3 {
		t.Errorf("wrote %+v", entry)
	}
	check("delete file", c.DeleteFile(ctx, "rs_1", "d"))
	_, err = c.CreateRuntime(ctx, client.RuntimeCreate{Name: "x", Language: "bash"})
	check("runtime", err)
	_, err = c.ListRuntimes(ctx, "x", page)
	check("runtimes", err)
	_, err = c.GetRuntime(ctx, "a/b c")
	check("get runtime", err)
	if st.last()[0] != "a/b c" {
		t.Errorf("a name arrived as %q", st.last()[0])
	}
	_, err = c.UpdateRuntime(ctx, "x", client.RuntimeUpdate{Env: &client.Env{}})
	check("update runtime", err)
	if patch, ok := st.last()[1].(remuda.RuntimePatch); !ok || patch.Env == nil {
		t.Error("an empty env does not arrive")
	}
	check("delete runtime", c.DeleteRuntime(ctx, "x"))
	_, err = c.CreateScript(ctx, client.ScriptCreate{Name: "a", Content: "1"})
	check("script", err)
	_, err = c.ListScripts(ctx, "a b", page)
	check("scripts", err)
	_, err = c.GetScript(ctx, "scr_1")
	check("get script", err)
	_, err = c.UpdateScript(ctx, "scr_1", client.ScriptUpdate{Name: &script})
	check("update script", err)
	check("delete script", c.DeleteScript(ctx, "scr_1"))
	_, err = c.ListArgumentTemplates(ctx)
	check("argument templates", err)
	_, err = c.GetArgumentTemplate(ctx, "python-literal")
	check("argument template", err)
	filled, err := c.FillArgumentTemplate(ctx, "bash-word", map[string][]string{"value": {"a b"}})
	check("fill", err)
	if filled != `printf '%s\n' 'a b'` {
		t.Errorf("filled %q", filled)
	}
	_, err = c.ListVersions(ctx, "node")
	check("versions", err)
	_, err = c.CreateToken(ctx, client.TokenCreate{Name: "x"})
	check("token", err)
	_, err = c.CreateTokenBasic(ctx, "ada", "pass:word", "acme", client.TokenCreate{Name: "x"})
	check("token by password", err)
	_, err = c.ListTokens(ctx, page)
	check("tokens", err)
	check("revoke", c.RevokeToken(ctx, "tok_1"))
	_, err = c.Whoami(ctx)
	check("whoami", err)
	_, err = c.CreateOrganization(ctx, "x")
	check("organization", err)
	_, err = c.ListOrganizations(ctx, page)
	check("organizations", err)
	_, err = c.GetOrganization(ctx, "x")
	check("get organization", err)
	_, err = c.GetLimits(ctx, "x")
	check("limits", err)
	most := 7
	limits, err := c.UpdateLimits(ctx, "x", client.LimitsUpdate{MaxRunspaces: &most})
	check("update limits", err)
	if limits.MaxRunspaces == nil || *limits.MaxRunspaces != most {
		t.Errorf("limits %+v", limits)
	}
	_, err = c.ListMembers(ctx, "x")
	check("members", err)
	_, err = c.PutMember(ctx, "x", "y", role)
	check("put member", err)
	check("remove member", c.RemoveMember(ctx, "x", "y"))
	_, err = c.CreateUser(ctx, client.UserCreate{Name: "x", Password: "y"})
	check("user", err)
	_, err = c.ListUsers(ctx, page)
	check("users", err)
	_, err = c.GetUser(ctx, "x")
	check("get user", err)
	disabled := true
	_, err = c.UpdateUser(ctx, "x", client.UserUpdate{Disabled: &disabled})
	check("update user", err)
	_, err = c.Health(ctx)
	check("health", err)
	_, err = c.Ready(ctx)
	check("ready", err)
}
