package executions_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/remuda"
)

// people are who acts with tokens now.
type people struct {
	of   map[remuda.TokenID]remuda.Principal
	fail error
}

func (p people) Principals(_ context.Context, ids []remuda.TokenID) (map[remuda.TokenID]remuda.Principal, error) {
	if p.fail != nil {
		return nil, p.fail
	}
	found := map[remuda.TokenID]remuda.Principal{}
	for _, id := range ids {
		if who, ok := p.of[id]; ok {
			found[id] = who
		}
	}
	return found, nil
}

// TestRightsWhenTheTurnComes has executions wait whose users could run them when they
// submitted them.
func TestRightsWhenTheTurnComes(t *testing.T) {
	t.Parallel()
	const token = remuda.TokenID("tok_1")
	holder := deployer
	holder.Token = token
	monitor, reader := holder, holder
	monitor.Role, reader.Scope = remuda.RoleMonitor, remuda.ScopeRead
	for name, c := range map[string]struct {
		now    people
		reason string // "" is success
	}{
		"they still may":        {now: people{of: map[remuda.TokenID]remuda.Principal{token: holder}}},
		"the role was lowered":  {now: people{of: map[remuda.TokenID]remuda.Principal{token: monitor}}, reason: "execution.run"},
		"the token only reads":  {now: people{of: map[remuda.TokenID]remuda.Principal{token: reader}}, reason: "execution.run"},
		"the token is gone":     {reason: "has ended"},
		"nobody can look it up": {now: people{fail: errors.New("broken")}, reason: "could not be looked at"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, settings{})
			h.executions.SetTokens(c.now)
			rs := h.space(t, remuda.RunspaceRequest{})
			h.run(t, queued(rs.ID, "set x 1"))
			first := h.submit(t, queued(rs.ID, "block"))
			next, err := h.executions.SubmitExecution(t.Context(), holder, queued(rs.ID, "get x"), 0)
			if err != nil || next.State != remuda.ExecutionQueued {
				t.Fatalf("it is %s, %v", next.State, err)
			}
			last := h.submit(t, queued(rs.ID, "get x")) // with no token: of the server's own
			if _, err := h.executions.CancelExecution(t.Context(), deployer, first.ID); err != nil {
				t.Fatal(err)
			}
			e := h.wait(t, next.ID)
			switch {
			case c.reason == "" && (e.State != remuda.ExecutionSuccess || h.output(t, e.ID) != "1\n"):
				t.Errorf("it is %s: %s", e.State, e.Reason)
			case c.reason != "" && (e.State != remuda.ExecutionError || e.StartedAt != nil || !strings.Contains(e.Reason, "may not run any more") || !strings.Contains(e.Reason, c.reason)):
				t.Errorf("it is %s since %v: %s; want error: %s", e.State, e.StartedAt, e.Reason, c.reason)
			}
			// The turn goes on to whoever is next.
			if e := h.wait(t, last.ID); e.State != remuda.ExecutionSuccess || h.output(t, e.ID) != "1\n" {
				t.Errorf("the next one is %s: %s", e.State, e.Reason)
			}
		})
	}
}
