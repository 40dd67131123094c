package scripts_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/runtimes"
	"github.com/remuda-run/remuda/internal/scripts"
	"github.com/remuda-run/remuda/internal/store"
	"github.com/remuda-run/remuda/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ours   remuda.OrganizationID = "org_ours"
	theirs remuda.OrganizationID = "org_theirs"
)

func principal(org remuda.OrganizationID, role remuda.Role) remuda.Principal {
	return remuda.Principal{User: remuda.UserID("usr_" + string(role)), Organization: org, Role: role, Scope: remuda.ScopeWrite, RequestID: "req-1"}
}

var (
	operator = principal(ours, remuda.RoleOperator)
	monitor  = principal(ours, remuda.RoleMonitor)
	stranger = principal(theirs, remuda.RoleAdministrator)
)

// house is the service on real executions and a scripted engine.
type house struct {
	*scripts.Service
	t          *testing.T
	store      *store.Store
	executions *executions.Service
	runtime    remuda.Runtime // "r"
}

func open(t *testing.T) *house {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	st, err := store.Open(t.Context(), store.Options{Path: storetest.Fresh(t, filepath.Join(t.TempDir(), "remuda.db"))})
	if err != nil {
		t.Fatal(err)
	}
	eng := fake.New()
	p := pool.New(eng, log, nil, pool.Settings{})
	rts := runtimes.New(st, eng, p, log, runtimes.Settings{})
	spaces := runspaces.New(st, rts, p, log, nil, runspaces.Settings{})
	h := &house{t: t, store: st, executions: executions.New(st, rts, spaces, p, log, nil, executions.Settings{})}
	h.Service = scripts.New(st, rts, h.executions, log)
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = p.Run(ctx) })
	t.Cleanup(func() {
		now, over := context.WithCancel(context.Background())
		over() // what runs is canceled at once
		err := h.executions.Drain(now)
		cancel()
		run.Wait()
		if err := errors.Join(err, p.Close(context.Background()), st.Close()); err != nil {
			t.Error(err)
		}
	})
	err = st.Write(t.Context(), func(tx *store.Tx) error {
		return errors.Join(
			tx.InsertOrganization(t.Context(), remuda.Organization{ID: ours, Name: "ours", CreatedAt: time.Now()}),
			tx.InsertOrganization(t.Context(), remuda.Organization{ID: theirs, Name: "theirs", CreatedAt: time.Now()}))
	})
	if err == nil {
		err = rts.Start(t.Context())
	}
	if err == nil {
		h.runtime, err = rts.CreateRuntime(t.Context(), principal(ours, remuda.RoleDeployer), remuda.Definition{Name: "r", Language: remuda.LanguagePython})
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func text(name, value string) remuda.ScriptVariable {
	return remuda.ScriptVariable{ID: "id-" + name, Name: name, Kind: remuda.VariableText, Value: value, Editable: true}
}

func secret(name, value string) remuda.ScriptVariable {
	return remuda.ScriptVariable{ID: "id-" + name, Name: name, Kind: remuda.VariableSecret, Value: value, Editable: true}
}

// keep stores a script, which is Python and of runtime "r" unless it says otherwise.
func (h *house) keep(d remuda.ScriptDefinition) remuda.Script {
	h.t.Helper()
	if d.Kind == "" {
		d.Kind = remuda.ScriptPython
	}
	if d.Runtime == "" {
		d.Runtime = h.runtime.ID
	}
	sc, err := h.CreateScript(h.t.Context(), operator, d)
	if err != nil {
		h.t.Fatal(err)
	}
	return sc
}

// ends waits for a run and returns what is known of it.
func (h *house) ends(run remuda.ScriptRun, err error) scripts.Result {
	h.t.Helper()
	if err == nil {
		_, err = h.executions.WaitExecution(h.t.Context(), operator, run.Execution, time.Minute)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	r, err := h.RunResult(h.t.Context(), operator, remuda.ShortID(run.Execution))
	if err != nil || !r.Execution.State.Final() || r.Run.Execution != run.Execution {
		h.t.Fatalf("the run is %+v, %v", r, err)
	}
	return r
}

func wantCode(t *testing.T, what string, err error, code remuda.Code) {
	t.Helper()
	if got := remuda.CodeOf(err); got != code {
		t.Errorf("%s: got %q (%v), want %q", what, got, err, code)
	}
}

// A run has the values that it gives, else the user's answers, else the script's own,
// and is found again with its output under the short id of its execution.
func TestRunOfAStoredScript(t *testing.T) {
	t.Parallel()
	h := open(t)
	sc := h.keep(remuda.ScriptDefinition{Name: "greet", Content: "param $who\nparam $key\neprint $who", Variables: []remuda.ScriptVariable{text("who", "nobody"), secret("key", "k")}})
	run := func(given ...remuda.VariableValue) string {
		t.Helper()
		r := h.ends(h.RunScript(t.Context(), operator, string(sc.ID), given))
		if r.Run.Script != sc.ID || r.Execution.State != remuda.ExecutionSuccess {
			t.Errorf("the run is %+v", r)
		}
		return string(r.Stdout)
	}
	if got := run(); got != "\"nobody\"\n\"k\"\n" {
		t.Errorf("with its own values it says %q", got)
	}
	if _, err := h.PutAnswers(t.Context(), operator, string(sc.ID), []remuda.VariableValue{{ID: "who", Value: "answered"}}); err != nil {
		t.Fatal(err)
	}
	if got := run(); got != "\"answered\"\n\"k\"\n" {
		t.Errorf("with an answer it says %q", got)
	}
	if got := run(remuda.VariableValue{ID: "who", Value: "given"}); got != "\"given\"\n\"k\"\n" {
		t.Errorf("with a given value it says %q", got)
	}
	history, err := h.History(t.Context(), operator, []string{string(sc.ID), "absent"})
	if err != nil || len(history) != 1 || string(history[0].Stdout) != "\"given\"\n\"k\"\n" {
		t.Errorf("history %+v, %v", history, err)
	}
}

// What the rewriting did is undone in what a script says of itself.
func TestErrorsNameVariablesAsWritten(t *testing.T) {
	t.Parallel()
	h := open(t)
	sc := h.keep(remuda.ScriptDefinition{Name: "fails", Content: "raise NameError about $who", Variables: []remuda.ScriptVariable{text("who", "x")}})
	r := h.ends(h.RunScript(t.Context(), operator, string(sc.ID), nil))
	if e := r.Execution.Error; e == nil || !strings.Contains(e.Message, "about $who") {
		t.Errorf("the error is %+v", e)
	}
}

// Other code does not get a script's secrets.
func TestContentOfARequest(t *testing.T) {
	t.Parallel()
	h := open(t)
	sc := h.keep(remuda.ScriptDefinition{Name: "s", Content: "param $key", Variables: []remuda.ScriptVariable{secret("key", "k"), text("who", "nobody")}})
	r := h.ends(h.RunContent(t.Context(), operator, scripts.ContentRun{Content: "print free"}))
	if string(r.Stdout) != "free\n" || r.Run.Script != "" {
		t.Errorf("a content alone: %+v", r)
	}
	r = h.ends(h.RunContent(t.Context(), operator, scripts.ContentRun{Script: string(sc.ID), Content: sc.Content}))
	if string(r.Stdout) != "\"k\"\n" {
		t.Errorf("the script's own content: %q", r.Stdout)
	}
	_, err := h.RunContent(t.Context(), operator, scripts.ContentRun{Script: string(sc.ID), Content: "print stolen\nparam $key"})
	wantCode(t, "other code that reads the secret", err, remuda.CodeInvalid)
	r = h.ends(h.RunContent(t.Context(), operator, scripts.ContentRun{Script: string(sc.ID), Content: "param $who"}))
	if string(r.Stdout) != "\"nobody\"\n" {
		t.Errorf("other code that reads no secret: %q", r.Stdout)
	}
	_, err = h.RunContent(t.Context(), operator, scripts.ContentRun{})
	wantCode(t, "no content", err, remuda.CodeInvalid)
}

func TestCancelRun(t *testing.T) {
	t.Parallel()
	h := open(t)
	run, err := h.RunContent(t.Context(), operator, scripts.ContentRun{Content: "block"})
	if err != nil {
		t.Fatal(err)
	}
	short := remuda.ShortID(run.Execution)
	wantCode(t, "by a stranger", h.CancelRun(t.Context(), stranger, short), remuda.CodeNotFound)
	wantCode(t, "by a monitor", h.CancelRun(t.Context(), monitor, short), remuda.CodeForbidden)
	for range 2 { // one that has ended is left as it is
		if err := h.CancelRun(t.Context(), operator, short); err != nil {
			t.Fatal(err)
		}
	}
	if r := h.ends(run, nil); r.Execution.State != remuda.ExecutionCanceled {
		t.Errorf("the run is %s", r.Execution.State)
	}
}

func TestRightsOfScripts(t *testing.T) {
	t.Parallel()
	h := open(t)
	sc := h.keep(remuda.ScriptDefinition{Name: "s", Content: "print x"})
	name := "other"
	for what, try := range map[string]func(p remuda.Principal) error{
		"read":    func(p remuda.Principal) error { _, err := h.GetScript(t.Context(), p, string(sc.ID)); return err },
		"answers": func(p remuda.Principal) error { _, _, err := h.Answers(t.Context(), p, string(sc.ID)); return err },
	} {
		wantCode(t, what+" by a monitor", try(monitor), "")
		wantCode(t, what+" by a stranger", try(stranger), remuda.CodeNotFound)
	}
	for what, try := range map[string]func(p remuda.Principal) error{
		"change": func(p remuda.Principal) error {
			_, err := h.UpdateScript(t.Context(), p, string(sc.ID), remuda.ScriptPatch{Name: &name})
			return err
		},
		"delete":  func(p remuda.Principal) error { return h.DeleteScript(t.Context(), p, string(sc.ID)) },
		"answer":  func(p remuda.Principal) error { _, err := h.PutAnswers(t.Context(), p, string(sc.ID), nil); return err },
		"run":     func(p remuda.Principal) error { _, err := h.RunScript(t.Context(), p, string(sc.ID), nil); return err },
		"prepare": func(p remuda.Principal) error { _, err := h.PrepareScript(t.Context(), p, string(sc.ID)); return err },
	} {
		wantCode(t, what+" by a monitor", try(monitor), remuda.CodeForbidden)
		wantCode(t, what+" by a stranger", try(stranger), remuda.CodeNotFound)
	}
	if got, err := h.GetScript(t.Context(), operator, string(sc.ID)); err != nil || got.Name != "s" || got.Revision != 1 {
		t.Errorf("after all that it is %+v, %v", got, err)
	}
}

// A secret goes with its code and its runtime: nobody can read it by a change.
func TestSecretsStayWithTheirCode(t *testing.T) {
	t.Parallel()
	h := open(t)
	content, desc := "print other\nparam $key", "d"
	none := remuda.RuntimeID("")
	for what, c := range map[string]struct {
		patch remuda.ScriptPatch
		keeps bool
	}{
		"description": {remuda.ScriptPatch{Description: &desc}, true},
		"content":     {remuda.ScriptPatch{Content: &content}, false},
		"runtime":     {remuda.ScriptPatch{Runtime: &none}, false},
		"variables":   {remuda.ScriptPatch{Variables: &[]remuda.ScriptVariable{secret("key", "")}}, true},
		"both":        {remuda.ScriptPatch{Content: &content, Variables: &[]remuda.ScriptVariable{secret("key", "")}}, false},
	} {
		sc := h.keep(remuda.ScriptDefinition{Name: what, Content: "param $key", Variables: []remuda.ScriptVariable{secret("key", "k")}})
		if _, err := h.UpdateScript(t.Context(), operator, string(sc.ID), c.patch); err != nil {
			t.Fatal(err)
		}
		got, err := h.PrepareScript(t.Context(), operator, string(sc.ID))
		if err != nil || (len(got.Secrets) == 1) != c.keeps || (string(got.Parameters["_var_key"]) == `"k"`) != c.keeps {
			t.Errorf("after a change of %s: %+v, %v", what, got, err)
		}
	}
}

// PrepareScript finds a script by id, short id or name and says what it needs.
func TestPrepareScript(t *testing.T) {
	t.Parallel()
	h := open(t)
	sc := h.keep(remuda.ScriptDefinition{Name: "connect it", Content: "param $who\nparam $key", Variables: []remuda.ScriptVariable{text("who", "nobody"), secret("key", "k"), secret("unread", "u")}})
	if _, err := h.PutAnswers(t.Context(), operator, string(sc.ID), []remuda.VariableValue{{ID: "who", Value: "answered"}}); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{string(sc.ID), remuda.ShortID(sc.ID), "connect it"} {
		got, err := h.PrepareScript(t.Context(), operator, ref)
		if err != nil {
			t.Fatalf("%s: %v", ref, err)
		}
		if got.ID != sc.ID || got.Name != sc.Name || got.Language != remuda.LanguagePython || got.Runtime != h.runtime.ID || fmt.Sprint(got.Secrets) != "[key]" {
			t.Errorf("%s: %+v", ref, got)
		}
		if got.Source != "param _var_who\nparam _var_key" || string(got.Parameters["_var_who"]) != `"answered"` || string(got.Parameters["_var_key"]) != `"k"` || len(got.Parameters) != 2 {
			t.Errorf("%s: %q with %s", ref, got.Source, got.Parameters)
		}
	}
	h.keep(remuda.ScriptDefinition{Name: "twice", Folder: "a", Content: "print a"})
	h.keep(remuda.ScriptDefinition{Name: "twice", Folder: "b", Content: "print b"})
	h.keep(remuda.ScriptDefinition{Name: "notes", Kind: remuda.ScriptNotebook, Content: "{}"})
	needs := text("a", "")
	needs.Required = true
	h.keep(remuda.ScriptDefinition{Name: "needs", Content: "param $a", Variables: []remuda.ScriptVariable{needs}})
	// A name may look like an id: the id comes first, the name is found all the same.
	odd := h.keep(remuda.ScriptDefinition{Name: strings.Repeat("AB", 16), Content: "print odd"})
	if got, err := h.PrepareScript(t.Context(), operator, odd.Name); err != nil || got.ID != odd.ID {
		t.Errorf("a name that looks like a short id: %+v, %v", got, err)
	}
	for ref, code := range map[string]remuda.Code{
		"absent": remuda.CodeNotFound, "": remuda.CodeNotFound, string(remuda.NewScriptID()): remuda.CodeNotFound, "twice": remuda.CodeConflict,
		"notes": remuda.CodeUnsupported, "needs": remuda.CodeInvalid, "Connect it": remuda.CodeNotFound,
	} {
		_, err := h.PrepareScript(t.Context(), operator, ref)
		wantCode(t, ref, err, code)
	}
}
