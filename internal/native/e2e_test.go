package native_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/client"
	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/httpapi/apitest"
	"github.com/remuda-run/remuda/internal/native"
	"github.com/remuda-run/remuda/internal/organizations"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/runtimes"
	"github.com/remuda-run/remuda/internal/scripts"
	"github.com/remuda-run/remuda/internal/store"
	"github.com/remuda-run/remuda/internal/store/storetest"
	"github.com/remuda-run/remuda/internal/telemetry"
	"github.com/remuda-run/remuda/internal/terminals"
)

// house is the whole server but for its sandboxes, which are scripted.
type house struct {
	url  string
	http *http.Client
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := newHouseWith(t, store.DurabilityMachine)
	h.http = &http.Client{Transport: apitest.Transport(t, http.DefaultTransport)}
	return h
}

// plain is a client with nothing between it and the server.
func (h *house) plain(t testing.TB, token string) *client.Client {
	t.Helper()
	c, err := client.New(h.url, token)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newHouseWith(t testing.TB, durability store.Durability) *house {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	ctx, stop := context.WithCancel(context.Background())
	st, err := store.Open(ctx, store.Options{Path: storetest.Fresh(t, filepath.Join(t.TempDir(), "remuda.db")), Durability: durability, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	eng, metrics := fake.New(), telemetry.New()
	p := pool.New(eng, log, metrics, pool.Settings{})
	org := organizations.New(st, log, nil)
	rts := runtimes.New(st, eng, p, log, runtimes.Settings{})
	rss := runspaces.New(st, rts, p, log, metrics, runspaces.Settings{})
	exs := executions.New(st, rts, rss, p, log, metrics, executions.Settings{OutputLimit: 1 << 20})
	tms := terminals.New(st, rss, org, log, terminals.Settings{Sweep: 5 * time.Millisecond})
	rss.SetRunner(exs)
	stored := scripts.New(st, rts, exs, log)
	rss.SetScripts(stored)
	if err := rts.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := org.Bootstrap(ctx, "the admin's password"); err != nil {
		t.Fatal(err)
	}
	h, err := native.Handler(native.Services{
		Authenticator: org, Tokens: org, Organizations: org, Users: org, Runtimes: rts, Runspaces: rss, Files: rss, Executions: exs, Scripts: stored, Terminals: tms,
	}, httpapi.Options{Metrics: metrics.Handler(), Ready: st.Ping, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	var parts sync.WaitGroup
	for _, run := range []func(context.Context) error{p.Run, rss.Run, exs.Run, tms.Run} {
		parts.Go(func() {
			if err := run(ctx); err != nil {
				t.Errorf("a part failed: %v", err)
			}
		})
	}
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = httpapi.NewServer(h, log)
	srv.Start()
	t.Cleanup(func() {
		if err := tms.Close(context.Background()); err != nil {
			t.Errorf("close the terminals: %v", err)
		}
		srv.Close()
		stop()
		parts.Wait()
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("close the pool: %v", err)
		}
		if err := st.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
		if err := eng.Close(context.Background()); err != nil {
			t.Errorf("close the engine: %v", err)
		}
	})
	return &house{url: srv.URL}
}

func (h *house) client(t *testing.T, token string) *client.Client {
	t.Helper()
	c, err := client.New(h.url, token, client.WithHTTPClient(h.http))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (h *house) login(t *testing.T, user, password string, scope client.Scope) *client.Client {
	t.Helper()
	token, err := h.client(t, "").CreateTokenBasic(context.Background(), user, password, "", client.TokenCreate{Name: "test", Scope: &scope})
	if err != nil {
		t.Fatal(err)
	}
	return h.client(t, token.Token)
}

func must[T any](t *testing.T) func(v T, err error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func code(err error) string {
	for _, c := range []string{"invalid", "unauthenticated", "forbidden", "not_found", "conflict", "too_large", "unsupported"} {
		if client.IsCode(err, c) {
			return c
		}
	}
	return ""
}

// TestMainJob does over HTTP what the product is for: define a runtime, run a
// script on it, keep state in a runspace, move files, read output, end it.
func TestMainJob(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	h := newHouse(t)
	c := h.login(t, "admin", "the admin's password", "write")
	rt := must[client.Runtime](t)(c.CreateRuntime(ctx, client.RuntimeCreate{Name: "mine", Language: "python", Env: client.Env{"A": "b"}}))
	if rt.Generation != 1 || rt.Global || rt.Resources.MemoryMb == 0 {
		t.Errorf("runtime %+v", rt)
	}
	script := "print hello\neprint oops\nargs\nstdin\nenv A\nparam p\nvalue {\"k\":[1]}"
	var stdout, stderr bytes.Buffer
	ex := must[client.Execution](t)(c.Run(ctx, client.ExecutionCreate{
		Runtime: "mine", Script: &script, Args: []string{"x"}, StdinBase64: []byte{0xff, '\n'}, Parameters: map[string]rawJSON{"p": rawJSON("[null]")},
	}, &stdout, &stderr))
	if ex.State != api.ExecutionStateSuccess || !ex.Fresh || ex.Instance == nil || ex.Value == nil || string(ex.Value.Json) != `{"k":[1]}` || ex.Generation != 1 || ex.TimingsUs["total"] == 0 {
		t.Errorf("execution %+v", ex)
	}
	if stdout.String() != "hello\nx\n\xff\nb\n[null]\n" || stderr.String() != "oops\n" {
		t.Errorf("output %q and %q", stdout.String(), stderr.String())
	}
	memory := 64
	if changed := must[client.Runtime](t)(c.UpdateRuntime(ctx, "mine", client.RuntimeUpdate{Resources: &client.ResourcesUpdate{MemoryMb: &memory}})); changed.Generation != 2 || changed.Resources.MemoryMb != 64 {
		t.Errorf("changed runtime %+v", changed)
	}

	rs := must[client.Runspace](t)(c.CreateRunspace(ctx, client.RunspaceCreate{Runtime: "mine"}, 30*time.Second))
	if rs.State != api.RunspaceStateReady || rs.Generation != 2 {
		t.Fatalf("runspace %+v", rs)
	}
	run := func(script string) client.Execution {
		t.Helper()
		return must[client.Execution](t)(c.CreateRunspaceExecution(ctx, rs.Id, client.RunspaceExecutionCreate{Script: &script}, 30*time.Second))
	}
	if ex := run("set x 42"); ex.State != api.ExecutionStateSuccess || *ex.Runspace != rs.Id {
		t.Errorf("execution %+v", ex)
	}
	get := run("get x")
	page := must[client.OutputPage](t)(c.GetOutput(ctx, get.Id, 0, 0, 0))
	if len(page.Records) != 1 || string(client.Bytes(page.Records[0])) != "42\n" || !page.Ended || page.Truncated {
		t.Errorf("output %+v", page)
	}
	if ex := run("raise ValueError no"); ex.State != api.ExecutionStateError || ex.Error == nil || ex.Error.Type != "ValueError" || *ex.ExitCode != 1 {
		t.Errorf("execution %+v", ex)
	}
	entry := must[client.FileEntry](t)(c.WriteFile(ctx, rs.Id, "d/in.txt", strings.NewReader("content")))
	if entry.Size != 7 || entry.Path != "d/in.txt" {
		t.Errorf("wrote %+v", entry)
	}
	content := must[io.ReadCloser](t)(c.ReadFile(ctx, rs.Id, "d/in.txt"))
	if data, err := io.ReadAll(content); err != nil || string(data) != "content" {
		t.Errorf("read %q, %v", data, err)
	}
	_ = content.Close()
	if _, err := c.ReadFile(ctx, rs.Id, "absent"); code(err) != "not_found" {
		t.Errorf("got %v", err)
	}
	block := "block"
	long := must[client.Execution](t)(c.CreateRunspaceExecution(ctx, rs.Id, client.RunspaceExecutionCreate{Script: &block}, 0))
	must[client.Execution](t)(c.CancelExecution(ctx, long.Id))
	if ex := must[client.Execution](t)(c.WaitExecution(ctx, long.Id)); ex.State != api.ExecutionStateCanceled {
		t.Errorf("canceled execution %+v", ex)
	}
	if _, err := c.CancelExecution(ctx, long.Id); code(err) != "conflict" {
		t.Errorf("canceling twice gives %v", err)
	}
	if err := c.DeleteRunspace(ctx, rs.Id); err != nil {
		t.Error(err)
	}
	if rs := must[client.Runspace](t)(c.GetRunspace(ctx, rs.Id, 0)); rs.State != api.RunspaceStateClosed || rs.EndedAt == nil {
		t.Errorf("closed runspace %+v", rs)
	}
	var all []client.Execution
	for p := (client.Page{Limit: 2}); ; {
		list := must[client.ExecutionList](t)(c.ListExecutions(ctx, client.ExecutionFilter{Runtime: "mine"}, p))
		all = append(all, list.Items...)
		if list.Next == nil {
			break
		}
		p.Cursor = *list.Next
	}
	if len(all) != 5 || all[4].Id != ex.Id {
		t.Errorf("%d executions are listed, want 5, the oldest last", len(all))
	}
	flood := "flood 3000000"
	cut := must[client.Execution](t)(c.CreateExecution(ctx, client.ExecutionCreate{Runtime: "mine", Script: &flood}, 30*time.Second))
	if cut.OutputCutBytes == 0 || cut.OutputBytes > 1<<20 {
		t.Errorf("flooded execution keeps %d and cuts %d", cut.OutputBytes, cut.OutputCutBytes)
	}
}

// TestRefusals wants every kind of refusal from the real services to be a
// documented answer (apitest) with the right code.
func TestRefusals(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	h := newHouse(t)
	admin := h.login(t, "admin", "the admin's password", "write")
	reader := h.login(t, "admin", "the admin's password", "read")
	must[client.Organization](t)(admin.CreateOrganization(ctx, "other"))
	must[client.User](t)(admin.CreateUser(ctx, client.UserCreate{Name: "eve", Password: "a long password of eve"}))
	must[client.Member](t)(admin.PutMember(ctx, "other", "eve", "administrator"))
	eve := h.login(t, "eve", "a long password of eve", "write")
	must[client.Runtime](t)(admin.CreateRuntime(ctx, client.RuntimeCreate{Name: "mine", Language: "bash"}))
	rs := must[client.Runspace](t)(admin.CreateRunspace(ctx, client.RunspaceCreate{Runtime: "mine"}, 30*time.Second))
	script, empty := "print x", ""
	ex := must[client.Execution](t)(admin.CreateExecution(ctx, client.ExecutionCreate{Runtime: "mine", Script: &script}, 30*time.Second))
	for name, tc := range map[string]struct {
		call func() error
		want string
	}{
		"no such token": {func() error { _, err := h.client(t, "nonsense").Whoami(ctx); return err }, "unauthenticated"},
		"wrong password": {func() error {
			_, err := h.client(t, "").CreateTokenBasic(ctx, "admin", "x", "", client.TokenCreate{Name: "x"})
			return err
		}, "unauthenticated"},
		"read scope writes": {func() error {
			_, err := reader.CreateRuntime(ctx, client.RuntimeCreate{Name: "x", Language: "bash"})
			return err
		}, "forbidden"},
		"read scope runs": {func() error {
			_, err := reader.CreateExecution(ctx, client.ExecutionCreate{Runtime: "mine", Script: &script}, 0)
			return err
		}, "forbidden"},
		"member makes users": {func() error {
			_, err := eve.CreateUser(ctx, client.UserCreate{Name: "x", Password: "a long password of x"})
			return err
		}, "forbidden"},
		"foreign runtime": {func() error { _, err := eve.GetRuntime(ctx, "mine"); return err }, "not_found"},
		"foreign runtime runs": {func() error {
			_, err := eve.CreateExecution(ctx, client.ExecutionCreate{Runtime: "mine", Script: &script}, 0)
			return err
		}, "not_found"},
		"foreign runspace": {func() error { _, err := eve.GetRunspace(ctx, rs.Id, 0); return err }, "not_found"},
		"foreign runspace runs": {func() error {
			_, err := eve.CreateRunspaceExecution(ctx, rs.Id, client.RunspaceExecutionCreate{Script: &script}, 0)
			return err
		}, "not_found"},
		"foreign runspace ends": {func() error { return eve.DeleteRunspace(ctx, rs.Id) }, "not_found"},
		"foreign files":         {func() error { _, err := eve.ListFiles(ctx, rs.Id, ""); return err }, "not_found"},
		"foreign execution":     {func() error { _, err := eve.GetExecution(ctx, ex.Id, 0); return err }, "not_found"},
		"foreign output":        {func() error { _, err := eve.GetOutput(ctx, ex.Id, 0, 0, 0); return err }, "not_found"},
		"foreign cancel":        {func() error { _, err := eve.CancelExecution(ctx, ex.Id); return err }, "not_found"},
		"foreign organization":  {func() error { _, err := eve.GetOrganization(ctx, "default"); return err }, "not_found"},
		"global is not mine":    {func() error { return eve.DeleteRuntime(ctx, "python") }, "forbidden"},
		"name is taken": {func() error {
			_, err := admin.CreateRuntime(ctx, client.RuntimeCreate{Name: "mine", Language: "bash"})
			return err
		}, "conflict"},
		"nonsense": {func() error {
			_, err := admin.CreateRuntime(ctx, client.RuntimeCreate{Name: "-", Language: "perl"})
			return err
		}, "invalid"},
		"nonsense for services": {func() error {
			_, err := admin.CreateRuntime(ctx, client.RuntimeCreate{Name: "a b\n", Language: "bash"})
			return err
		}, "invalid"},
		"bad cursor":        {func() error { _, err := admin.ListRuntimes(ctx, "", client.Page{Cursor: "%%%"}); return err }, "invalid"},
		"no such execution": {func() error { _, err := admin.GetExecution(ctx, "ex_x", 0); return err }, "not_found"},
		"no such user":      {func() error { _, err := admin.GetUser(ctx, "nobody"); return err }, "not_found"},
		"empty script is fine": {func() error {
			_, err := admin.CreateExecution(ctx, client.ExecutionCreate{Runtime: "mine", Script: &empty}, 30*time.Second)
			return err
		}, ""},
		"unknown runtime": {func() error {
			_, err := admin.CreateRunspace(ctx, client.RunspaceCreate{Runtime: "nothing"}, 0)
			return err
		}, "not_found"},
	} {
		if err := tc.call(); code(err) != tc.want || (tc.want == "" && err != nil) {
			t.Errorf("%s: got %v, want code %q", name, err, tc.want)
		}
	}
	for _, tok := range must[client.TokenList](t)(admin.ListTokens(ctx, client.Page{})).Items {
		if tok.Scope == "read" {
			if err := admin.RevokeToken(ctx, tok.Id); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := reader.Whoami(ctx); code(err) != "unauthenticated" {
		t.Errorf("a revoked token gives %v", err)
	}
}

type rawJSON = json.RawMessage
