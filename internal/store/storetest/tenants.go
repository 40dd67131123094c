package storetest

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"sync"

	"pgregory.net/rapid"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// object is something of a tenant and every way to reach it.
type object struct {
	kind  string
	owner remuda.OrganizationID
	// reach tries each operation that names the object, as the given
	// organization, and returns the errors by operation.
	reach map[string]func(context.Context, *store.Tx, remuda.OrganizationID) error
}

type operation = func(context.Context, *store.Tx, remuda.OrganizationID) error

// makers add one object of each kind to an organization.
var makers = []func(context.Context, *store.Tx, remuda.OrganizationID) (object, error){
	func(ctx context.Context, tx *store.Tx, org remuda.OrganizationID) (object, error) {
		rt := newRuntime(org)
		seq := int64(1)
		return object{"runtime", org, map[string]operation{
				"get": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
					_, err := tx.Runtime(ctx, o, rt.ID)
					return err
				},
				"byname": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
					_, err := tx.RuntimeByName(ctx, o, rt.Name)
					return err
				},
				"update": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
					c := rt
					c.Organization = o
					return tx.UpdateRuntime(ctx, c)
				},
				"list": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
					l, _, err := tx.Runtimes(ctx, []remuda.OrganizationID{o}, "", remuda.Page{Limit: 200})
					return listed(err, slices.ContainsFunc(l, func(x remuda.Runtime) bool { return x.ID == rt.ID }))
				},
				"generation": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
					_, err := tx.Generation(ctx, o, remuda.GenerationKey{Runtime: rt.ID, Number: 1})
					return err
				},
				"build": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
					_, err := tx.Build(ctx, o, rt.Key())
					return err
				},
				"change build": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
					return tx.UpdateBuild(ctx, o, newBuild(rt.Key()))
				},
				"builds": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
					l, _, err := tx.Builds(ctx, o, rt.ID, remuda.Page{})
					return listed(err, len(l) > 0)
				},
				"log": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
					l, err := tx.BuildLog(ctx, o, rt.Key(), 0, 1)
					return listed(err, len(l) > 0)
				},
				"end of log": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
					last, _, err := tx.BuildLogEnd(ctx, o, rt.Key())
					return listed(err, last > 0)
				},
				"add to log": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
					seq++
					return tx.AppendBuildLog(ctx, o, rt.Key(), []remuda.OutputRecord{{Seq: seq, Data: []byte("x")}})
				},
			}}, firstError(tx.InsertRuntime(ctx, rt), tx.InsertGeneration(ctx, org, rt.Key(), rt.Definition, now()), tx.InsertBuild(ctx, org, newBuild(rt.Key())),
				tx.AppendBuildLog(ctx, org, rt.Key(), []remuda.OutputRecord{{Seq: 1, Data: []byte("x")}}))
	},
	func(ctx context.Context, tx *store.Tx, org remuda.OrganizationID) (object, error) {
		rs := newRunspace(org)
		return object{"runspace", org, map[string]operation{
			"get": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
				_, err := tx.Runspace(ctx, o, rs.ID)
				return err
			},
			"update": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
				c := rs
				c.Organization = o
				return tx.UpdateRunspace(ctx, c)
			},
			"list": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
				l, _, err := tx.Runspaces(ctx, o, remuda.RunspaceFilter{Runtime: rs.Runtime}, remuda.Page{Limit: 200})
				return listed(err, slices.ContainsFunc(l, func(x remuda.Runspace) bool { return x.ID == rs.ID }))
			},
		}}, tx.InsertRunspace(ctx, rs)
	},
	func(ctx context.Context, tx *store.Tx, org remuda.OrganizationID) (object, error) {
		e := newExecution(org)
		seq := int64(1)
		return object{"execution", org, map[string]operation{
			"get": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
				_, err := tx.Execution(ctx, o, e.ID)
				return err
			},
			"update": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
				c := e
				c.Organization = o
				return tx.UpdateExecution(ctx, c)
			},
			"list": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
				l, _, err := tx.Executions(ctx, o, remuda.ExecutionFilter{State: remuda.ExecutionQueued}, remuda.Page{Limit: 200})
				return listed(err, slices.ContainsFunc(l, func(x remuda.Execution) bool { return x.ID == e.ID }))
			},
			"output": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
				l, err := tx.Output(ctx, o, e.ID, 0, 0)
				return listed(err, len(l) > 0)
			},
			"append": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
				seq++
				return tx.AppendOutput(ctx, o, e.ID, []remuda.OutputRecord{{Seq: seq, Data: []byte("x")}})
			},
		}}, firstError(tx.InsertExecution(ctx, e), tx.AppendOutput(ctx, org, e.ID, []remuda.OutputRecord{{Seq: 1, Data: []byte("x")}}))
	},
	func(ctx context.Context, tx *store.Tx, org remuda.OrganizationID) (object, error) {
		u := newUser()
		tok := remuda.Token{ID: remuda.NewTokenID(), Organization: org, User: u.ID, Name: "t", Scope: remuda.ScopeRead, Hash: newName("hash"), CreatedAt: now()}
		return object{"token", org, map[string]operation{
			"get": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
				_, err := tx.Token(ctx, o, tok.ID)
				return err
			},
			"list": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
				l, _, err := tx.Tokens(ctx, o, "", remuda.Page{Limit: 200})
				return listed(err, slices.ContainsFunc(l, func(x remuda.Token) bool { return x.ID == tok.ID }))
			},
			"own": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
				l, _, err := tx.Tokens(ctx, o, u.ID, remuda.Page{Limit: 200})
				return listed(err, len(l) == 1)
			},
			"member": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
				_, err := tx.Membership(ctx, o, u.ID)
				return err
			},
		}}, firstError(tx.InsertUser(ctx, u), tx.InsertToken(ctx, tok), tx.PutMembership(ctx, remuda.Membership{Organization: org, User: u.ID, Role: remuda.RoleMonitor}))
	},
	makeScript,
	func(ctx context.Context, tx *store.Tx, org remuda.OrganizationID) (object, error) {
		id := remuda.NewExecutionID()
		return object{"audit", org, map[string]operation{
			"list": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
				l, _, err := tx.Audit(ctx, o, remuda.Page{Limit: 200})
				return listed(err, slices.ContainsFunc(l, func(x remuda.AuditEntry) bool { return x.Object == string(id) }))
			},
		}}, tx.AppendAudit(ctx, remuda.AuditEntry{Organization: org, Object: string(id), At: now()})
	},
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// listed turns "is not in the list" into the error that a lookup would give.
func listed(err error, found bool) error {
	if err == nil && !found {
		return remuda.NotFound("object", "in the list")
	}
	return err
}

// For random objects of random organizations: whoever asks as the owner reaches
// them, and whoever asks as another organization gets not_found from every
// operation.
func testIsolation(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	rapid.Check(t, func(r *rapid.T) {
		orgs := []remuda.OrganizationID{f.newOrganization(), f.newOrganization(), f.newOrganization()}
		var objects []object
		for range rapid.IntRange(1, 12).Draw(r, "objects") {
			make1 := rapid.SampledFrom(makers).Draw(r, "maker")
			owner := rapid.SampledFrom(orgs).Draw(r, "owner")
			f.write(func(ctx context.Context, tx *store.Tx) error {
				o, err := make1(ctx, tx, owner)
				objects = append(objects, o)
				return err
			})
		}
		for _, o := range objects {
			for name, op := range o.reach {
				as := rapid.SampledFrom(append(slices.Clone(orgs), remuda.GlobalOrganization)).Draw(r, "as")
				err := f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return op(ctx, tx, as) })
				want := remuda.CodeNotFound
				if as == o.owner {
					want = ""
				}
				if got := remuda.CodeOf(err); got != want {
					r.Fatalf("%s %s of %s as %s: got %q (%v), want %q", name, o.kind, o.owner, as, got, err, want)
				}
			}
		}
	})
}

// Every list gives each row once, newest first, whatever the size of its pages.
func testPaging(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	const n = 23
	want := make([]remuda.ExecutionID, n)
	f.write(func(ctx context.Context, tx *store.Tx) error {
		for i := range n {
			e := newExecution(f.org)
			want[i] = e.ID
			if err := firstError(tx.InsertExecution(ctx, e), tx.AppendAudit(ctx, remuda.AuditEntry{Organization: f.org, Object: string(e.ID), At: now()})); err != nil {
				return err
			}
		}
		return nil
	})
	slices.Sort(want)
	slices.Reverse(want)
	for _, limit := range []int{1, 2, 7, 22, 23, 24, 200} {
		same(t, f.pages(limit), want)
	}
	seen := 0
	for page := (remuda.Page{Limit: 10}); ; {
		var next string
		f.read(func(ctx context.Context, tx *store.Tx) error {
			entries, n, err := tx.Audit(ctx, f.org, page)
			for _, e := range entries {
				if e.Seq != int64(23-seen) {
					t.Errorf("entry %d at place %d", e.Seq, seen)
				}
				seen++
			}
			next = n
			return err
		})
		if next == "" {
			break
		}
		page.Cursor = next
	}
	same(t, seen, n)
	for _, bad := range []remuda.Page{
		{Limit: -1}, {Limit: 201}, {Cursor: "!"}, {Cursor: "AAAA"}, {Cursor: "' OR 1=1 --"},
		{Cursor: base64.RawURLEncoding.EncodeToString([]byte(remuda.NewRuntimeID()))},
	} {
		wantCode(t, f.tryRead(func(ctx context.Context, tx *store.Tx) error {
			_, _, err := tx.Executions(ctx, f.org, remuda.ExecutionFilter{}, bad)
			return err
		}), remuda.CodeInvalid)
		wantCode(t, f.tryRead(func(ctx context.Context, tx *store.Tx) error {
			_, _, err := tx.Audit(ctx, f.org, bad)
			return err
		}), remuda.CodeInvalid)
	}
}

// pages reads the whole list of executions.
func (f *fixture) pages(limit int) (ids []remuda.ExecutionID) {
	f.t.Helper()
	page := remuda.Page{Limit: limit}
	for {
		f.read(func(ctx context.Context, tx *store.Tx) error {
			list, next, err := tx.Executions(ctx, f.org, remuda.ExecutionFilter{}, page)
			if len(list) > limit {
				return fmt.Errorf("a page of %d with limit %d", len(list), limit)
			}
			for _, e := range list {
				ids = append(ids, e.ID)
			}
			page.Cursor = next
			return err
		})
		if page.Cursor == "" {
			return ids
		}
	}
}

// A list that is read while others insert holds what was there before, once.
func testPagingWhileAdding(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	const n = 60
	before := make(map[remuda.ExecutionID]bool, n)
	f.write(func(ctx context.Context, tx *store.Tx) error {
		for range n {
			e := newExecution(f.org)
			before[e.ID] = true
			if err := tx.InsertExecution(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.InsertExecution(ctx, newExecution(f.org)) }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 5 {
		ids := f.pages(7)
		seen := make(map[remuda.ExecutionID]bool, len(ids))
		for i, id := range ids {
			if seen[id] {
				t.Errorf("%s is there twice", id)
			}
			if i > 0 && id >= ids[i-1] {
				t.Errorf("%s comes after %s", id, ids[i-1])
			}
			seen[id] = true
		}
		for id := range before {
			if !seen[id] {
				t.Errorf("%s is missing", id)
			}
		}
	}
	close(stop)
	wg.Wait()
}
