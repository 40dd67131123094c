package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

func remedyOf(err error) string {
	if e, ok := errors.AsType[*remuda.Error](err); ok {
		return e.Remedy
	}
	return ""
}

// same fails the test when what came back is not what was stored.
func same[T any](t testing.TB, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Errorf("came back differently (-stored +read):\n%s", d)
	}
}

func testAccounts(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	u := newUser()
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertUser(ctx, u) })
	again := newUser()
	again.Name = u.Name
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.InsertUser(ctx, again) }), remuda.CodeConflict)
	u.SiteAdmin, u.Disabled, u.PasswordHash = true, true, "other"
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.UpdateUser(ctx, u) })
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.UpdateUser(ctx, newUser()) }), remuda.CodeNotFound)

	admin := newUser()
	f.write(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.InsertUser(ctx, admin); err != nil {
			return err
		}
		for _, m := range []remuda.Membership{
			{Organization: f.org, User: u.ID, Role: remuda.RoleMonitor},
			{Organization: f.org, User: u.ID, Role: remuda.RoleAdministrator},
			{Organization: f.org, User: admin.ID, Role: remuda.RoleAdministrator},
		} {
			if err := tx.PutMembership(ctx, m); err != nil {
				return err
			}
		}
		return nil
	})
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error {
		return tx.PutMembership(ctx, remuda.Membership{Organization: f.org, User: "usr_absent", Role: remuda.RoleMonitor})
	}), remuda.CodeNotFound)
	f.read(func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.UserByName(ctx, u.Name)
		same(t, got, u)
		roles, err2 := tx.Memberships(ctx, u.ID)
		same(t, roles, []remuda.Membership{{Organization: f.org, User: u.ID, Role: remuda.RoleAdministrator}})
		members, err3 := tx.Members(ctx, f.org)
		same(t, len(members), 2)
		// u is disabled and does not count.
		n, err4 := tx.CountAdministrators(ctx, f.org, admin.ID)
		same(t, n, 0)
		n, err5 := tx.CountAdministrators(ctx, f.org, u.ID)
		same(t, n, 1)
		n, err6 := tx.CountSiteAdmins(ctx, "")
		same(t, n, 0)
		return errors.Join(err, err2, err3, err4, err5, err6)
	})
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.DeleteMembership(ctx, f.org, u.ID) })
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.DeleteMembership(ctx, f.org, u.ID) }), remuda.CodeNotFound)
	f.read(func(ctx context.Context, tx *store.Tx) error {
		orgs, _, err := tx.Organizations(ctx, remuda.Page{})
		for _, o := range orgs {
			if o.ID == remuda.GlobalOrganization {
				t.Error("the global organization is listed as a tenant")
			}
		}
		if _, err := tx.Organization(ctx, remuda.GlobalOrganization); err != nil {
			t.Errorf("the global organization: %v", err)
		}
		return err
	})
}

func testTokens(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	u, other := newUser(), newUser()
	expires := now().Add(time.Hour)
	tok := remuda.Token{ID: remuda.NewTokenID(), Organization: f.org, User: u.ID, Name: "t", Scope: remuda.ScopeRead, Hash: "h1", ExpiresAt: &expires, CreatedAt: now()}
	forever := remuda.Token{ID: remuda.NewTokenID(), Organization: f.org, User: other.ID, Name: "t", Scope: remuda.ScopeWrite, Hash: "h2", CreatedAt: now()}
	f.write(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertUser(ctx, u), tx.InsertUser(ctx, other), tx.InsertToken(ctx, tok), tx.InsertToken(ctx, forever))
	})
	f.read(func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.TokenByHash(ctx, "h1")
		same(t, got, tok)
		got, err2 := tx.Token(ctx, f.org, forever.ID)
		same(t, got, forever)
		own, _, err3 := tx.Tokens(ctx, f.org, u.ID, remuda.Page{})
		same(t, own, []remuda.Token{tok})
		all, _, err4 := tx.Tokens(ctx, f.org, "", remuda.Page{})
		same(t, len(all), 2)
		_, missing := tx.TokenByHash(ctx, "h3")
		wantCode(t, missing, remuda.CodeNotFound)
		return errors.Join(err, err2, err3, err4)
	})
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.DeleteToken(ctx, f.org, tok.ID) })
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.DeleteToken(ctx, f.org, tok.ID) }), remuda.CodeNotFound)
}

func testRuntimes(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	rt, builtin := newRuntime(f.org), newRuntime(remuda.GlobalOrganization)
	key := remuda.GenerationKey{Runtime: rt.ID, Number: 1}
	f.write(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertRuntime(ctx, rt), tx.InsertRuntime(ctx, builtin), tx.InsertGeneration(ctx, f.org, key, rt.Definition, now()))
	})
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error {
		return tx.InsertGeneration(ctx, f.org, key, rt.Definition, now())
	}), remuda.CodeConflict)
	taken := newRuntime(f.org)
	taken.Name = rt.Name
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.InsertRuntime(ctx, taken) }), remuda.CodeConflict)
	first := rt.Clone()
	rt.Generation, rt.Serving, rt.Env, rt.UpdatedAt = 2, 1, nil, now()
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.UpdateRuntime(ctx, rt) })
	f.read(func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Runtime(ctx, f.org, rt.ID)
		same(t, got, rt)
		got, err2 := tx.RuntimeByName(ctx, f.org, rt.Name)
		same(t, got, rt)
		def, err3 := tx.Generation(ctx, f.org, key)
		same(t, def, first)
		both, _, err4 := tx.Runtimes(ctx, []remuda.OrganizationID{f.org, remuda.GlobalOrganization}, "", remuda.Page{})
		same(t, len(both), 2)
		named, _, err5 := tx.Runtimes(ctx, []remuda.OrganizationID{f.org, remuda.GlobalOrganization, f.org}, builtin.Name, remuda.Page{})
		same(t, named, []remuda.Runtime{builtin})
		all, err6 := tx.AllRuntimes(ctx)
		same(t, len(all), 2)
		return errors.Join(err, err2, err3, err4, err5, err6)
	})
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.DeleteRuntime(ctx, f.org, rt.ID) })
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.UpdateRuntime(ctx, rt) }), remuda.CodeNotFound)
}

func testRunspaces(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	rs := newRunspace(f.org)
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertRunspace(ctx, rs) })
	second := newRunspace(f.org)
	second.Name = rs.Name
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.InsertRunspace(ctx, second) }), remuda.CodeConflict)
	for range 2 { // names are optional
		unnamed := newRunspace(f.org)
		unnamed.Name, unnamed.Env = "", nil
		f.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertRunspace(ctx, unnamed) })
	}
	f.read(func(ctx context.Context, tx *store.Tx) error {
		unfinished, err := tx.UnfinishedRunspaces(ctx)
		same(t, len(unfinished), 3)
		return err
	})
	at := now()
	rs.State, rs.Instance, rs.EndedAt, rs.Error = remuda.RunspaceClosed, "ins_1", &at, "idle"
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.UpdateRunspace(ctx, rs) })
	// The name is free again once the runspace is closed.
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertRunspace(ctx, second) })
	f.read(func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Runspace(ctx, f.org, rs.ID)
		same(t, got, rs)
		closed, _, err2 := tx.Runspaces(ctx, f.org, remuda.RunspaceFilter{State: remuda.RunspaceClosed, Runtime: "rt_1", Owner: "usr_1"}, remuda.Page{})
		same(t, closed, []remuda.Runspace{rs})
		creating, _, err3 := tx.Runspaces(ctx, f.org, remuda.RunspaceFilter{State: remuda.RunspaceCreating}, remuda.Page{})
		same(t, len(creating), 3)
		return errors.Join(err, err2, err3)
	})
}

func testExecutions(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	e := newExecution(f.org)
	e.Runspace = remuda.NewRunspaceID()
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertExecution(ctx, e) })
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.InsertExecution(ctx, e) }), remuda.CodeConflict)
	f.read(func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Execution(ctx, f.org, e.ID)
		same(t, got, e)
		unfinished, err2 := tx.UnfinishedExecutions(ctx)
		same(t, unfinished, []remuda.Execution{e})
		return errors.Join(err, err2)
	})
	failed := newExecution(f.org)
	failed.State, failed.Reason, failed.KilledBy = remuda.ExecutionTimeout, "10 s were over", remuda.KilledByTime
	failed.Error = &remuda.ScriptError{Type: "TimeoutError", Message: "m\x00", Traceback: "File \"<script>\", line 1"}
	e = ended(e)
	f.write(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.UpdateExecution(ctx, e), tx.InsertExecution(ctx, failed))
	})
	f.read(func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Execution(ctx, f.org, e.ID)
		same(t, got, e)
		got, err2 := tx.Execution(ctx, f.org, failed.ID)
		same(t, got, failed)
		for _, c := range []struct {
			filter remuda.ExecutionFilter
			want   []remuda.Execution
		}{
			{remuda.ExecutionFilter{}, []remuda.Execution{failed, e}},
			{remuda.ExecutionFilter{Runspace: e.Runspace}, []remuda.Execution{e}},
			{remuda.ExecutionFilter{State: remuda.ExecutionSuccess}, []remuda.Execution{e}},
			{remuda.ExecutionFilter{State: remuda.ExecutionTimeout}, []remuda.Execution{failed}},
			{remuda.ExecutionFilter{Runtime: "rt_1", State: remuda.ExecutionSuccess, Runspace: e.Runspace}, []remuda.Execution{e}},
			{remuda.ExecutionFilter{Runtime: "rt_2"}, nil},
		} {
			list, _, err := tx.Executions(ctx, f.org, c.filter, remuda.Page{})
			if err != nil {
				return fmt.Errorf("%+v: %w", c.filter, err)
			}
			if len(list) == 2 && list[0].ID < list[1].ID {
				t.Error("not newest first")
			}
			if len(list) == 2 && list[0].ID != failed.ID {
				list[0], list[1] = list[1], list[0] // both of one millisecond
			}
			same(t, list, c.want)
		}
		return errors.Join(err, err2)
	})
}

func testOutput(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	e := newExecution(f.org)
	records := []remuda.OutputRecord{
		{Seq: 1, Stream: remuda.StreamStdout, Data: []byte("a\x00\xff\xfe")},
		{Seq: 2, Stream: remuda.StreamStderr, Data: []byte{}},
		{Seq: 3, Stream: remuda.StreamStdout, Data: bytes.Repeat([]byte("x"), 100_000)},
		{Seq: 4, Stream: remuda.StreamStdout, Data: []byte("end")},
	}
	f.write(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertExecution(ctx, e), tx.AppendOutput(ctx, f.org, e.ID, records))
	})
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error {
		return tx.AppendOutput(ctx, f.org, e.ID, records[3:])
	}), remuda.CodeConflict)
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error {
		return tx.AppendOutput(ctx, f.org, remuda.NewExecutionID(), records[:1])
	}), remuda.CodeNotFound)
	for _, c := range []struct {
		after    int64
		maxBytes int
		want     []remuda.OutputRecord
	}{
		{0, 0, records}, {0, 4, records[:2]}, {2, 10, records[2:3]}, {3, 10, records[3:]}, {4, 10, nil}, {99, 10, nil}, {0, 1, records[:1]},
	} {
		f.read(func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.Output(ctx, f.org, e.ID, c.after, c.maxBytes)
			same(t, got, c.want)
			return err
		})
	}
}

// What has ended does not change any more, whoever comes later.
func testFinalStates(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	e, rs := newExecution(f.org), newRunspace(f.org)
	f.write(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertExecution(ctx, e), tx.UpdateExecution(ctx, ended(e)), tx.InsertRunspace(ctx, rs))
	})
	late := e
	late.State = remuda.ExecutionLost
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.UpdateExecution(ctx, late) }), remuda.CodeConflict)
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.UpdateExecution(ctx, newExecution(f.org)) }), remuda.CodeNotFound)
	rs.State = remuda.RunspaceError
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.UpdateRunspace(ctx, rs) })
	rs.State = remuda.RunspaceReady
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.UpdateRunspace(ctx, rs) }), remuda.CodeConflict)
	f.read(func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Execution(ctx, f.org, e.ID)
		same(t, got.State, remuda.ExecutionSuccess)
		return err
	})
}
