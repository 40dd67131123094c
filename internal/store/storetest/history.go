package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

func testLimits(in subject) {
	t := in.t
	f := newFixture(t, in.b)
	o := remuda.Organization{
		ID: remuda.NewOrganizationID(), Name: newName("org"), CreatedAt: now(), Policy: remuda.Policy{MaxInstances: 3},
		Limits: remuda.Limits{
			MaxRunspaces: 5, MaxRunspacesPerUser: 2, IdleTimeout: 90 * time.Second, ActiveTimeout: time.Hour, MemoryMB: 128, KeepExecutions: 30, KeepFor: 5 * 24 * time.Hour,
		},
	}
	wantOrganization := func() {
		t.Helper()
		f.read(func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.Organization(ctx, o.ID)
			same(t, got, o)
			return err
		})
	}
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertOrganization(ctx, o) })
	wantOrganization()
	o.Limits = remuda.Limits{KeepFor: time.Microsecond}
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.UpdateOrganization(ctx, o) })
	wantOrganization()
}

// history is a fixture with executions to forget.
type history struct {
	*fixture
	at  time.Time
	all map[string]remuda.Execution
}

// add inserts an execution with output, an idempotency key and a run of a script. One
// with age < 0 is running.
func (h *history) add(org remuda.OrganizationID, name string, owner remuda.UserID, age time.Duration) {
	h.t.Helper()
	e := newExecution(org)
	e.Owner, e.Name = owner, name
	if age >= 0 {
		e = ended(e)
		at := h.at.Add(-age)
		e.CreatedAt, e.EndedAt = at, &at
		// Its id says when it was made, as an execution's own does.
		id := remuda.IDBefore(remuda.PrefixExecution, at)
		e.ID = remuda.ExecutionID(id[:len(id)-20] + string(e.ID[len(e.ID)-20:]))
	} else {
		e.State = remuda.ExecutionRunning
	}
	h.all[name] = e
	h.write(func(ctx context.Context, tx *store.Tx) error {
		return firstError(tx.InsertExecution(ctx, e), tx.AppendOutput(ctx, org, e.ID, []remuda.OutputRecord{{Seq: 1, Stream: remuda.StreamStdout, Data: []byte(name)}}),
			tx.InsertIdempotencyKey(ctx, store.IdempotencyKey{Organization: org, User: owner, Key: name, Execution: e.ID, CreatedAt: h.at}),
			tx.InsertScriptRun(ctx, remuda.ScriptRun{Organization: org, Execution: e.ID, Script: "scr_1", CreatedAt: h.at}))
	})
}

func (h *history) names(list []store.OldExecution) (names []string) {
	for _, o := range list {
		for name, e := range h.all {
			if e.ID == o.ID {
				names = append(names, name)
				same(h.t, o.OutputBytes, e.OutputBytes)
			}
		}
	}
	return names
}

// testHistory: old executions are found by age and by count, of one organization, the
// oldest first, and never one that has not ended; what refers to one goes with it.
func testHistory(in subject) {
	t := in.t
	h := &history{fixture: newFixture(t, in.b), at: now(), all: map[string]remuda.Execution{}}
	other := h.newOrganization()
	for name, age := range map[string]time.Duration{"a3": 3 * time.Hour, "a2": 2 * time.Hour, "a1": time.Hour, "a0": 0, "running": -1} {
		h.add(h.org, name, "usr_a", age)
	}
	h.add(h.org, "b2", "usr_b", 2*time.Hour)
	h.add(other, "theirs", "usr_a", 4*time.Hour)
	found := func(what string, find func(ctx context.Context, tx *store.Tx) ([]store.OldExecution, error), want ...string) {
		t.Helper()
		h.read(func(ctx context.Context, tx *store.Tx) error {
			list, err := find(ctx, tx)
			if got := h.names(list); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: found %v, want %v", what, got, want)
			}
			return err
		})
	}
	old := func(age time.Duration, limit int) func(context.Context, *store.Tx) ([]store.OldExecution, error) {
		return func(ctx context.Context, tx *store.Tx) ([]store.OldExecution, error) {
			return tx.OldExecutions(ctx, h.org, h.at.Add(-age), limit)
		}
	}
	beyond := func(owner remuda.UserID, keep, limit int) func(context.Context, *store.Tx) ([]store.OldExecution, error) {
		return func(ctx context.Context, tx *store.Tx) ([]store.OldExecution, error) {
			return tx.ExecutionsBeyond(ctx, h.org, owner, keep, limit)
		}
	}
	found("older than 2.5 h", old(150*time.Minute, 10), "a3")
	found("exactly as old is not older", old(3*time.Hour, 10))
	found("older than 30 min, two", old(30*time.Minute, 1), "a3")
	found("all but two", beyond("usr_a", 2, 10), "a3", "a2")
	found("all but two, one at a time", beyond("usr_a", 2, 1), "a3")
	found("all", beyond("usr_a", 0, 10), "a3", "a2", "a1", "a0")
	found("as many as there are", beyond("usr_a", 4, 10))
	found("somebody else", beyond("usr_c", 0, 10))
	owners := []remuda.UserID{}
	h.read(func(ctx context.Context, tx *store.Tx) error {
		for owner := remuda.UserID(""); ; owners = append(owners, owner) {
			var err error
			if owner, err = tx.NextExecutionOwner(ctx, h.org, owner); err != nil || owner == "" {
				return err
			}
		}
	})
	same(t, owners, []remuda.UserID{"usr_a", "usr_b"})
	h.delete(t, other, "a3", false)
	h.delete(t, h.org, "running", false)
	h.delete(t, h.org, "a3", true)
	h.delete(t, h.org, "a3", false)
	for name := range h.all {
		h.expect(t, name, name != "a3")
	}
}

func (h *history) delete(t *testing.T, org remuda.OrganizationID, name string, want bool) {
	t.Helper()
	h.write(func(ctx context.Context, tx *store.Tx) error {
		done, err := tx.DeleteExecution(ctx, org, h.all[name].ID)
		if done != want {
			t.Errorf("delete %s as %s: %v, want %v", name, org, done, want)
		}
		return err
	})
}

// expect wants an execution with everything that refers to it, or nothing of it.
func (h *history) expect(t *testing.T, name string, there bool) {
	t.Helper()
	e := h.all[name]
	h.read(func(ctx context.Context, tx *store.Tx) error {
		_, errRow := tx.Execution(ctx, e.Organization, e.ID)
		_, errKey := tx.IdempotencyKey(ctx, e.Organization, e.Owner, name)
		_, errRun := tx.ScriptRun(ctx, e.Organization, remuda.ShortID(e.ID))
		out, errOut := tx.Output(ctx, e.Organization, e.ID, 0, 0)
		for what, err := range map[string]error{"row": errRow, "key": errKey, "run": errRun, "output": listed(nil, len(out) == 1)} {
			if got := remuda.CodeOf(err) != remuda.CodeNotFound; got != there {
				t.Errorf("%s of %s is there: %v, want %v", what, name, got, there)
			}
		}
		return errOut
	})
}

func testTokenByID(in subject) {
	t := in.t
	f := newFixture(t, in.b)
	u := newUser()
	tok := remuda.Token{ID: remuda.NewTokenID(), Organization: f.org, User: u.ID, Name: "t", Scope: remuda.ScopeRead, Hash: newName("hash"), CreatedAt: now(), Purpose: remuda.TokenDelegated}
	f.write(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertUser(ctx, u), tx.InsertToken(ctx, tok))
	})
	f.read(func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.TokenByID(ctx, tok.ID)
		same(t, got, tok)
		_, absent := tx.TokenByID(ctx, remuda.NewTokenID())
		wantCode(t, absent, remuda.CodeNotFound)
		return err
	})
}
