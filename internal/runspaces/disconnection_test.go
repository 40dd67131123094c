package runspaces_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
)

// However a runspace ends, its disconnect script runs first, while its sandbox lives.
func TestDisconnection(t *testing.T) {
	t.Parallel()
	stored := map[string]string{"c": "set session open", "d": "get session", "slow": "stubborn\nblock"}
	second, never := time.Second, time.Duration(0)
	var ending sessions
	for name, c := range map[string]struct {
		set    runspaces.Settings
		req    func(*remuda.RunspaceRequest)
		end    func(x *site, rs remuda.Runspace)
		want   []string
		reason string
	}{
		"delete": {end: func(x *site, rs remuda.Runspace) {
			if err := x.DeleteRunspace(t.Context(), deployer, rs.ID); err != nil {
				t.Error(err)
			}
		}, reason: "deleted"},
		"idle": {set: runspaces.Settings{SweepEvery: 5 * time.Millisecond}, req: func(r *remuda.RunspaceRequest) { r.IdleTimeout = &second }, reason: "idle"},
		"session": {set: runspaces.Settings{Sessions: &ending, SessionsEvery: 5 * time.Millisecond}, req: func(r *remuda.RunspaceRequest) { r.Session = "tok_1" },
			end: func(*site, remuda.Runspace) { ending.gone.Store(true) }, reason: "session"},
		"shutdown": {end: func(x *site, _ remuda.Runspace) {
			if err := errors.Join(x.executions.Drain(t.Context()), x.Drain(t.Context())); err != nil {
				t.Error(err)
			}
		}, reason: "shut down"},
		"death": {end: func(x *site, rs remuda.Runspace) {
			ex, err := x.executions.SubmitExecution(t.Context(), deployer, remuda.ExecutionRequest{Runspace: rs.ID, Script: "die memory"}, time.Minute)
			if err != nil || ex.KilledBy != remuda.KilledByMemory {
				t.Errorf("%+v, %v", ex, err)
			}
		}, want: []string{"connection success", " error"}, reason: "memory"},
		"a script that does not end": {set: runspaces.Settings{DisconnectTimeout: 300 * time.Millisecond}, req: func(r *remuda.RunspaceRequest) { r.DisconnectScript = "slow" },
			end: func(x *site, rs remuda.Runspace) {
				if err := x.DeleteRunspace(t.Context(), deployer, rs.ID); err != nil {
					t.Error(err)
				}
			}, want: []string{"connection success", "disconnect timeout"}, reason: "deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := connected(t, c.set, stored)
			req := connect("c")
			req.DisconnectScript, req.IdleTimeout, req.ConnectionName, req.DisconnectName = "d", &never, "", ""
			if c.req != nil {
				c.req(&req)
			}
			rs := x.create(t, req)
			if c.end != nil {
				c.end(x, rs)
			}
			until(t, "it has ended", func() bool { return x.state(t, rs.ID).State.Final() })
			if got := x.state(t, rs.ID); !strings.Contains(got.Error, c.reason) {
				t.Errorf("it ended for %q", got.Error)
			}
			want := c.want
			if want == nil {
				want = []string{"connection success", "disconnect success"}
			}
			var got []string
			rows, _, err := x.executions.ListExecutions(t.Context(), deployer, remuda.ExecutionFilter{Runspace: rs.ID}, remuda.Page{})
			for _, row := range rows {
				got = append([]string{row.Name + " " + string(row.State)}, got...)
			}
			if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("ran %q, want %q, %v", got, want, err)
			}
		})
	}
}

// sessions live until they are gone.
type sessions struct{ gone atomic.Bool }

func (s *sessions) Living(_ context.Context, ids []remuda.TokenID) (map[remuda.TokenID]bool, error) {
	living := map[remuda.TokenID]bool{}
	for _, id := range ids {
		living[id] = !s.gone.Load()
	}
	return living, nil
}

// An execution that runs too long ends the runspace with it; the disconnect script has
// the interpreter after it.
func TestDisconnectionAfterTheActiveLimit(t *testing.T) {
	t.Parallel()
	x := connected(t, runspaces.Settings{SweepEvery: 5 * time.Millisecond}, map[string]string{"c": "set session open", "d": "get session"})
	second := time.Second
	req := connect("c")
	req.DisconnectScript, req.ActiveTimeout, req.ConnectionName, req.DisconnectName = "d", &second, "in", "out"
	rs := x.ready(t, req)
	ex, err := x.executions.SubmitExecution(t.Context(), deployer, remuda.ExecutionRequest{Runspace: rs.ID, Script: "block", Name: "user"}, time.Minute)
	if err != nil || ex.State != remuda.ExecutionError || !strings.Contains(ex.Reason, "active timeout of 1s") {
		t.Errorf("the script is %s (%s), %v", ex.State, ex.Reason, err)
	}
	until(t, "it has ended", func() bool { return x.state(t, rs.ID).State == remuda.RunspaceError })
	rows, _, err := x.executions.ListExecutions(t.Context(), deployer, remuda.ExecutionFilter{Runspace: rs.ID}, remuda.Page{})
	if err != nil || len(rows) != 3 || rows[0].Name != "out" || rows[0].State != remuda.ExecutionSuccess || rows[2].Name != "in" {
		t.Errorf("ran %+v, %v", rows, err)
	}
}
