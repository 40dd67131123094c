package guestinit_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

var kindNames = map[byte]string{3: "information", 4: "warning", 5: "error", 6: "debug", 7: "verbose", 8: "object"}

// told lists the whole records of a result: "kind: text" each.
func (r result) told() string {
	var lines []string
	for _, rec := range r.whole {
		lines = append(lines, kindNames[rec.Kind]+": "+string(rec.Data))
	}
	return strings.Join(lines, "\n")
}

func streams(text string) protocol.Execute { return protocol.Execute{Script: text, Streams: true} }

func objects(text string) protocol.Execute { return protocol.Execute{Script: text, Objects: true} }

// recordStep is a run, the records it makes, and what else there is of it.
type recordStep struct {
	run            protocol.Execute
	told           string
	stdout, stderr string // "..." before it: a part
	json, errText  string
}

func runRecords(t *testing.T, language remuda.Language, scenarios map[string][]recordStep) {
	t.Helper()
	for name, steps := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := ready(t, language)
			for i, step := range steps {
				r := s.exec(step.run)
				at := fmt.Sprintf("step %d, %.60q", i, step.run.Script)
				if got := r.told(); got != step.told {
					t.Errorf("%s tells\n%s\nwant\n%s", at, got, step.told)
				}
				same(t, at+": stdout", r.stdout, step.stdout)
				same(t, at+": stderr", r.stderr, step.stderr)
				if string(r.ValueJSON) != step.json {
					t.Errorf("%s: value %s, want %s", at, r.ValueJSON, step.json)
				}
				if state := map[bool]string{true: "success", false: "error"}[step.errText == ""]; r.State != state || !strings.Contains(r.ErrText, step.errText) {
					t.Errorf("%s: ended as %s with %s %q (%s), want %s with %q", at, r.State, r.ErrType, r.ErrText, r.Reason, state, step.errText)
				}
				if r.KilledBy != "" || r.Dead {
					t.Fatalf("%s: killed by %q: %s", at, r.KilledBy, r.Reason)
				}
			}
		})
	}
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if part, ok := strings.CutPrefix(want, "..."); ok && strings.Contains(got, part) {
		return
	}
	if got != want {
		t.Errorf("%s is %q, want %q", what, got, want)
	}
}
