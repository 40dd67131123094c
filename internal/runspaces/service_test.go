package runspaces_test

import (
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
)

func TestRequestIsChecked(t *testing.T) {
	t.Parallel()
	h := open(t, runspaces.Settings{})
	week := 7 * 24 * time.Hour
	_, err := h.CreateRunspace(t.Context(), deployer, remuda.RunspaceRequest{
		Name: "a/b", IdleTimeout: &week, Env: map[string]string{"LD_PRELOAD": "x"}, InitScript: "\xff",
	})
	var e *remuda.Error
	if !errors.As(err, &e) || e.Code != remuda.CodeInvalid {
		t.Fatalf("got %v, want invalid", err)
	}
	var fields []string
	for _, f := range e.Fields {
		fields = append(fields, f.Field)
	}
	if want := []string{"runtime", "name", "idle_timeout_s", "init_script", "env.LD_PRELOAD"}; !slices.Equal(fields, want) {
		t.Errorf("fields %q, want %q", fields, want)
	}
	if _, err := h.CreateRunspace(t.Context(), deployer, remuda.RunspaceRequest{Runtime: "absent"}); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Errorf("no such runtime: %v, want not_found", err)
	}
	if n := h.pool.Slots().InUse; n != 0 {
		t.Errorf("refused requests hold %d slots", n)
	}
}

func TestNamesAreUniqueAmongOpenOnes(t *testing.T) {
	t.Parallel()
	h := open(t, runspaces.Settings{})
	first := h.ready(t, remuda.RunspaceRequest{Name: "n"})
	_, err := h.CreateRunspace(t.Context(), deployer, remuda.RunspaceRequest{Runtime: "r", Name: "n"})
	if remuda.CodeOf(err) != remuda.CodeConflict {
		t.Errorf("a second one of the name: %v, want conflict", err)
	}
	until(t, "the refused one's slot is free", func() bool { return h.pool.Slots().InUse == 1 })
	if err := h.DeleteRunspace(t.Context(), deployer, first.ID); err != nil {
		t.Fatal(err)
	}
	h.ready(t, remuda.RunspaceRequest{Name: "n"})
}

func TestInitScript(t *testing.T) {
	t.Parallel()
	h := open(t, runspaces.Settings{PrepareTimeout: 500 * time.Millisecond})
	for _, c := range []struct {
		script string
		state  remuda.RunspaceState
		says   string
	}{
		{"set x 1", remuda.RunspaceReady, ""},
		{"eprint it went wrong\nraise ValueError no good", remuda.RunspaceError, "ValueError: no good; the end of its standard error: it went wrong"},
		{"exit 4", remuda.RunspaceError, "exit code 4"},
		{"die memory", remuda.RunspaceError, "memory"},
		{"block", remuda.RunspaceError, "did not become ready within 500ms"},
	} {
		t.Run(c.script, func(t *testing.T) {
			t.Parallel()
			rs := h.create(t, remuda.RunspaceRequest{InitScript: c.script})
			if rs.State != c.state || !strings.Contains(rs.Error, c.says) {
				t.Errorf("runspace is %s, %q; want %s, %q", rs.State, rs.Error, c.state, c.says)
			}
			if c.state == remuda.RunspaceReady {
				hold, err := h.Acquire(t.Context(), deployer, rs.ID, "ex_1")
				if err != nil {
					t.Fatal(err)
				}
				if hold.Fresh {
					t.Error("an instance that ran an init script is called fresh")
				}
				hold.Release(runspaces.Outcome{})
			}
		})
	}
}

func TestStartThatFailsOrHangs(t *testing.T) {
	t.Parallel()
	h := open(t, runspaces.Settings{PrepareTimeout: 100 * time.Millisecond})
	h.eng.FailCreate(remuda.Errorf(remuda.CodeUnsupported, "no namespaces"))
	if rs := h.create(t, remuda.RunspaceRequest{}); rs.State != remuda.RunspaceError || !strings.Contains(rs.Error, "no namespaces") {
		t.Errorf("runspace is %s, %q", rs.State, rs.Error)
	}
	release := h.eng.HoldCreate()
	defer release()
	if rs := h.create(t, remuda.RunspaceRequest{}); rs.State != remuda.RunspaceError || !strings.Contains(rs.Error, "within 100ms") {
		t.Errorf("runspace is %s, %q", rs.State, rs.Error)
	}
}

func TestDeleteWhileCreating(t *testing.T) {
	t.Parallel()
	h := open(t, runspaces.Settings{})
	release := h.eng.HoldCreate()
	defer release()
	rs, err := h.CreateRunspace(t.Context(), deployer, remuda.RunspaceRequest{Runtime: "r"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Acquire(t.Context(), deployer, rs.ID, "ex_1")
	var early *remuda.Error
	if !errors.As(err, &early) || early.Code != remuda.CodeConflict || !strings.Contains(early.Remedy, "ready") {
		t.Errorf("run before it is ready: %v, want a conflict that says to wait", err)
	}
	if err := h.DeleteRunspace(t.Context(), deployer, rs.ID); err != nil {
		t.Fatal(err)
	}
	if got := h.state(t, rs.ID); got.State != remuda.RunspaceClosed || got.EndedAt == nil {
		t.Errorf("after the delete: %+v", got)
	}
}

func TestBusyIsNeverIdle(t *testing.T) {
	t.Parallel()
	const idle = 100 * time.Millisecond
	h := open(t, runspaces.Settings{IdleTimeout: idle, SweepEvery: 5 * time.Millisecond})
	never := time.Duration(0)
	forever := h.ready(t, remuda.RunspaceRequest{IdleTimeout: &never})

	var hold *runspaces.Hold
	running := h.busy(t, func(id remuda.RunspaceID) (err error) {
		hold, err = h.Acquire(t.Context(), deployer, id, "ex_1")
		return err
	})
	var content io.ReadCloser
	reading := h.busy(t, func(id remuda.RunspaceID) error {
		if _, err := h.WriteFile(t.Context(), deployer, id, "f", strings.NewReader("x")); err != nil {
			return err
		}
		var err error
		_, content, err = h.ReadFile(t.Context(), deployer, id, "f")
		return err
	})
	unused := h.create(t, remuda.RunspaceRequest{})
	until(t, "the unused one is closed", func() bool { return h.state(t, unused.ID).State == remuda.RunspaceClosed })
	if got := h.state(t, unused.ID); !strings.Contains(got.Error, "idle for 100ms") {
		t.Errorf("closed for %q", got.Error)
	}
	for _, rs := range []remuda.Runspace{running, reading, forever} {
		if got := h.state(t, rs.ID); got.State.Final() {
			t.Errorf("a busy runspace was closed: %s", got.Error)
		}
	}
	hold.Release(runspaces.Outcome{Ran: true})
	if err := content.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "both are closed once they are idle", func() bool {
		return h.state(t, running.ID).State == remuda.RunspaceClosed && h.state(t, reading.ID).State == remuda.RunspaceClosed
	})
	if got := h.state(t, forever.ID); got.State != remuda.RunspaceReady {
		t.Errorf("one without an idle timeout is %s: %s", got.State, got.Error)
	}
}

// busy makes a runspace that is busy before it has been idle for too long, of which a
// loaded machine may need more than one.
func (h *house) busy(t *testing.T, begin func(remuda.RunspaceID) error) remuda.Runspace {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		rs := h.create(t, remuda.RunspaceRequest{})
		err := begin(rs.ID)
		if err == nil {
			return rs
		}
		if !strings.Contains(err.Error(), "idle for") || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestOpenRunspacesAreBounded(t *testing.T) {
	t.Parallel()
	h := open(t, runspaces.Settings{MaxOpen: 2})
	first := h.ready(t, remuda.RunspaceRequest{})
	h.ready(t, remuda.RunspaceRequest{})
	_, err := h.CreateRunspace(t.Context(), deployer, remuda.RunspaceRequest{Runtime: "r"})
	var full *remuda.Error
	if !errors.As(err, &full) || full.Code != remuda.CodeExhausted || full.Remedy == "" {
		t.Errorf("a third one: %v, want exhausted", err)
	}
	if _, err := h.CreateRunspace(t.Context(), principal(theirs, remuda.RoleOperator), remuda.RunspaceRequest{Runtime: "python"}); err != nil {
		t.Errorf("another organization has room of its own: %v", err)
	}
	if err := h.DeleteRunspace(t.Context(), deployer, first.ID); err != nil {
		t.Fatal(err)
	}
	h.ready(t, remuda.RunspaceRequest{})
}

func TestFiles(t *testing.T) {
	t.Parallel()
	h := open(t, runspaces.Settings{MaxListedFiles: 2})
	ctx := t.Context()
	rs := h.ready(t, remuda.RunspaceRequest{})
	info, err := h.WriteFile(ctx, deployer, rs.ID, "dir/a.txt", strings.NewReader("hello"))
	if err != nil || info.Path != "dir/a.txt" || info.Size != 5 {
		t.Fatalf("write: %+v, %v", info, err)
	}
	info, content, err := h.ReadFile(ctx, deployer, rs.ID, "dir/a.txt")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(content)
	if err := errors.Join(err, content.Close()); err != nil || string(text) != "hello" || info.Size != 5 {
		t.Errorf("read: %q, %+v, %v", text, info, err)
	}
	for _, name := range []string{"b", "c"} {
		if _, err := h.WriteFile(ctx, deployer, rs.ID, name, strings.NewReader("")); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := h.ListFiles(ctx, deployer, rs.ID, ""); err != nil || len(list) != 2 {
		t.Errorf("list: %v, %v; want the bound of 2", list, err)
	}
	if _, err := h.WriteFile(ctx, deployer, rs.ID, "big", strings.NewReader(strings.Repeat("x", 2<<20))); remuda.CodeOf(err) != remuda.CodeTooLarge {
		t.Errorf("over the disk quota: %v, want too_large", err)
	}
	for _, path := range []string{"", "/etc/passwd", "../x", "a/../../x", "a//b", "a\x00b", "a\nb", strings.Repeat("a/", 600) + "a"} {
		if _, err := h.WriteFile(ctx, deployer, rs.ID, path, strings.NewReader("x")); remuda.CodeOf(err) != remuda.CodeInvalid {
			t.Errorf("write to %q: %v, want invalid", path, err)
		}
	}
	if err := h.DeleteFile(ctx, deployer, rs.ID, "b"); err != nil {
		t.Error(err)
	}
	if err := h.DeleteFile(ctx, deployer, rs.ID, "b"); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Errorf("a second delete: %v, want not_found", err)
	}
	stranger, monitor := principal(theirs, remuda.RoleAdministrator), principal(ours, remuda.RoleMonitor)
	if _, _, err := h.ReadFile(ctx, stranger, rs.ID, "c"); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Errorf("read by a stranger: %v, want not_found", err)
	}
	if _, err := h.WriteFile(ctx, monitor, rs.ID, "c", strings.NewReader("")); remuda.CodeOf(err) != remuda.CodeForbidden {
		t.Errorf("write by a monitor: %v, want forbidden", err)
	}
	if err := h.DeleteRunspace(ctx, deployer, rs.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := h.ListFiles(ctx, deployer, rs.ID, ""); remuda.CodeOf(err) != remuda.CodeConflict {
		t.Errorf("files of a closed runspace: %v, want conflict", err)
	}
	h.audited(t, string(rs.ID), []string{"create", "write", "write", "write", "delete", "end"})
}

func TestRights(t *testing.T) {
	t.Parallel()
	h := open(t, runspaces.Settings{})
	ctx := t.Context()
	rs := h.ready(t, remuda.RunspaceRequest{})
	stranger := principal(theirs, remuda.RoleAdministrator)
	if _, err := h.GetRunspace(ctx, stranger, rs.ID); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Errorf("get by a stranger: %v, want not_found", err)
	}
	if _, err := h.WaitRunspace(ctx, stranger, rs.ID, time.Minute); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Errorf("wait by a stranger: %v, want not_found", err)
	}
	if err := h.DeleteRunspace(ctx, stranger, rs.ID); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Errorf("delete by a stranger: %v, want not_found", err)
	}
	if list, _, err := h.ListRunspaces(ctx, stranger, remuda.Page{}); err != nil || len(list) != 0 {
		t.Errorf("list by a stranger: %v, %v", list, err)
	}
	if _, err := h.CreateRunspace(ctx, stranger, remuda.RunspaceRequest{Runtime: "r"}); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Errorf("create on a foreign runtime: %v, want not_found", err)
	}
	monitor := principal(ours, remuda.RoleMonitor)
	if _, err := h.CreateRunspace(ctx, monitor, remuda.RunspaceRequest{Runtime: "r"}); remuda.CodeOf(err) != remuda.CodeForbidden {
		t.Errorf("create by a monitor: %v, want forbidden", err)
	}
	if err := h.DeleteRunspace(ctx, monitor, rs.ID); remuda.CodeOf(err) != remuda.CodeForbidden {
		t.Errorf("delete by a monitor: %v, want forbidden", err)
	}
	if got := h.state(t, rs.ID); got.State != remuda.RunspaceReady {
		t.Errorf("after all that it is %s", got.State)
	}
}

func TestDrainClosesAll(t *testing.T) {
	t.Parallel()
	h := open(t, runspaces.Settings{})
	rs := h.ready(t, remuda.RunspaceRequest{})
	release := h.eng.HoldCreate()
	defer release()
	creating, err := h.CreateRunspace(t.Context(), deployer, remuda.RunspaceRequest{Runtime: "r"})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []remuda.RunspaceID{rs.ID, creating.ID} {
		if got := h.state(t, id); got.State != remuda.RunspaceClosed || !strings.Contains(got.Error, "shut down") {
			t.Errorf("after the drain it is %s, %q", got.State, got.Error)
		}
	}
	if _, err := h.CreateRunspace(t.Context(), deployer, remuda.RunspaceRequest{Runtime: "r"}); remuda.CodeOf(err) != remuda.CodeUnavailable {
		t.Errorf("create while draining: %v, want unavailable", err)
	}
}

// TestEveryoneEndsItAtOnce has a delete, a dead instance and a release meet.
func TestEveryoneEndsItAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t, runspaces.Settings{CancelGrace: 10 * time.Millisecond})
	for range 20 {
		rs := h.ready(t, remuda.RunspaceRequest{})
		hold, err := h.Acquire(t.Context(), deployer, rs.ID, "ex_1")
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(func() {
			res, _ := hold.Instance.Execute(t.Context(), engine.Request{Script: "block"}, nil)
			hold.Release(runspaces.Outcome{Ran: true, Dead: res.Dead, Reason: "it died"})
		})
		all.Go(func() {
			if err := h.DeleteRunspace(t.Context(), deployer, rs.ID); err != nil {
				t.Errorf("delete: %v", err)
			}
		})
		all.Go(func() { hold.Instance.(*fake.Instance).Kill(remuda.KilledByMemory, "killed from outside") })
		all.Wait()
		if err := h.DeleteRunspace(t.Context(), deployer, rs.ID); err != nil {
			t.Errorf("a later delete: %v", err)
		}
		if got := h.state(t, rs.ID); !got.State.Final() {
			t.Errorf("it is %s", got.State)
		}
		h.audited(t, string(rs.ID), []string{"create", "end"})
	}
}

func FuzzCheckPath(f *testing.F) {
	for _, path := range []string{"a", "a/b", "../a", "/a", "a/./b", "a\x00", "a//b", "\xff", "a/..", "..."} {
		f.Add(path)
	}
	root := "/work/space"
	f.Fuzz(func(t *testing.T, path string) {
		if runspaces.CheckPath(path) != "" {
			return
		}
		joined := filepath.Join(root, path)
		if joined != root+"/"+path || strings.ContainsRune(path, 0) {
			t.Errorf("%q passed and means %q", path, joined)
		}
	})
}
