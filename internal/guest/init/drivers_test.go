package guestinit_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// want is what a test compares of a result; empty fields are not compared,
// except state, which is success when empty.
type want struct {
	state      string
	code       int
	json, text string
	stdout     string
	stderr     string // a part of it
	errType    string
	errText    string // a part of it
	trace      string // all of it, or a part when it begins with "..."
	dead       bool
	noValue    bool
}

// step is one script and what must come of it.
type step struct {
	e protocol.Execute
	w want
}

// scenario is a sequence of scripts in one sandbox.
type scenario struct {
	name  string
	steps []step
}

func script(s string) protocol.Execute { return protocol.Execute{Script: s} }

func final(s string) protocol.Execute { return protocol.Execute{Script: s, KillOnTimeout: true} }

func params(s string, kv ...string) protocol.Execute {
	e := protocol.Execute{Script: s, Parameters: map[string]json.RawMessage{}}
	for i := 0; i < len(kv); i += 2 {
		e.Parameters[kv[i]] = json.RawMessage(kv[i+1])
	}
	return e
}

func runScenarios(t *testing.T, language remuda.Language, all []scenario) {
	t.Parallel()
	for _, sc := range all {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			s := ready(t, language)
			for _, st := range sc.steps {
				check(t, st, s.exec(st.e))
			}
		})
	}
}

func check(t *testing.T, st step, r result) {
	t.Helper()
	w := st.w
	if w.state == "" {
		w.state = "success"
	}
	bad := func(what string, got, want any) {
		t.Helper()
		t.Errorf("%s of %.80q is %q, want %q (stderr %q, error %s: %s %s)", what, st.e.Script, got, want, tail(r.stderr), r.ErrType, r.ErrText, r.Reason)
	}
	if r.State != w.state {
		bad("state", r.State, w.state)
	}
	if r.ExitCode == nil {
		t.Errorf("no exit code of %.80q, want %d", st.e.Script, w.code)
	} else if *r.ExitCode != w.code {
		t.Errorf("exit code of %.80q is %d, want %d", st.e.Script, *r.ExitCode, w.code)
	}
	for _, c := range []struct{ what, got, want string }{
		{"JSON", string(r.ValueJSON), w.json}, {"text", r.ValueText, w.text}, {"stdout", r.stdout, w.stdout}, {"error type", r.ErrType, w.errType},
	} {
		if c.want != "" && c.got != c.want {
			bad(c.what, c.got, c.want)
		}
	}
	for _, c := range []struct{ what, got, want string }{{"stderr", r.stderr, w.stderr}, {"error text", r.ErrText, w.errText}} {
		if !strings.Contains(c.got, c.want) {
			bad(c.what, c.got, c.want)
		}
	}
	if part, ok := strings.CutPrefix(w.trace, "..."); ok && !strings.Contains(r.Traceback, part) || !ok && w.trace != "" && r.Traceback != w.trace {
		bad("traceback", r.Traceback, w.trace)
	}
	if strings.Contains(r.Traceback, "/run/remuda") {
		t.Errorf("the traceback shows the driver: %s", r.Traceback)
	}
	if r.Dead != w.dead {
		t.Errorf("dead is %v after %.80q, want %v (%s)", r.Dead, st.e.Script, w.dead, r.Reason)
	}
	if w.noValue && r.HasValue {
		bad("value", r.ValueText, "none")
	}
}
