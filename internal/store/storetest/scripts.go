package storetest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

func newScript(org remuda.OrganizationID) remuda.Script {
	return remuda.Script{
		ID: remuda.NewScriptID(), Organization: org, Owner: "usr_1", Revision: 1, CreatedAt: now(), UpdatedAt: now(),
		ScriptDefinition: remuda.ScriptDefinition{
			Name: newName("script"), Description: "d\n\"'`%", Folder: "F", Kind: remuda.ScriptPython, Usage: "u", Result: "r", Content: "return $x\n\x00é", Runtime: "rt_1",
			Variables: []remuda.ScriptVariable{
				{ID: "1", Name: "x", Kind: remuda.VariableNumber, Value: "2", Description: "d", Multiple: true, Prompt: true, Required: true, Nullable: true, Editable: true, Tag: "t"},
				{ID: "2", Name: "y", Kind: remuda.VariableSecret},
			},
		},
	}
}

func testScripts(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	s, other, double := newScript(f.org), newScript(f.org), newScript(f.org)
	// Of ids that were made within a millisecond either may come first.
	ids := []remuda.ScriptID{s.ID, other.ID, double.ID}
	slices.Sort(ids)
	s.ID, other.ID, double.ID = ids[0], ids[1], ids[2]
	f.write(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertScript(ctx, s), tx.InsertScript(ctx, other))
	})
	double.Name = s.Name
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.InsertScript(ctx, double) }), remuda.CodeConflict)
	double.Folder = "G"
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.InsertScript(ctx, double) })
	f.read(func(ctx context.Context, tx *store.Tx) error {
		byID, err := tx.Script(ctx, f.org, string(s.ID))
		same(t, byID, s)
		byShort, err2 := tx.Script(ctx, f.org, remuda.ShortID(s.ID))
		same(t, byShort, s)
		byName, err3 := tx.ScriptsNamed(ctx, f.org, s.Name, 10)
		same(t, byName, []remuda.Script{s, double})
		first, err4 := tx.ScriptsNamed(ctx, f.org, s.Name, 1)
		same(t, first, []remuda.Script{s})
		return errors.Join(err, err2, err3, err4)
	})
	f.read(func(ctx context.Context, tx *store.Tx) error {
		listed, next, err := tx.Scripts(ctx, f.org, "", remuda.Page{Limit: 2})
		if err != nil || len(listed) != 2 || listed[0].ID != double.ID || listed[0].Folder != "G" || listed[0].Content != "" || next == "" {
			t.Errorf("listed %+v, next %q: %v", listed, next, err)
		}
		rest, end, err := tx.Scripts(ctx, f.org, "", remuda.Page{Limit: 2, Cursor: next})
		if err != nil || len(rest) != 1 || rest[0].Name != s.Name || rest[0].Revision != s.Revision || !rest[0].CreatedAt.Equal(s.CreatedAt) || end != "" {
			t.Errorf("then listed %+v, next %q: %v", rest, end, err)
		}
		named, _, err := tx.Scripts(ctx, f.org, s.Name, remuda.Page{})
		foreign, _, err2 := tx.Scripts(ctx, remuda.NewOrganizationID(), "", remuda.Page{})
		if len(named) != 2 || len(foreign) != 0 {
			t.Errorf("%d are named so and %d are another organization's", len(named), len(foreign))
		}
		return errors.Join(err, err2)
	})
	changed := s
	changed.Revision, changed.Content, changed.Variables, changed.Name, changed.UpdatedAt = 2, "", nil, other.Name, now()
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.UpdateScript(ctx, changed) }), remuda.CodeConflict)
	changed.Name = newName("script")
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.UpdateScript(ctx, changed) })
	f.read(func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Script(ctx, f.org, string(s.ID))
		same(t, got, changed)
		return err
	})
	// Of two changes of one revision the second is refused.
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.UpdateScript(ctx, changed) }), remuda.CodeConflict)
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.UpdateScript(ctx, newScript(f.org)) }), remuda.CodeNotFound)
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.DeleteScript(ctx, f.org, s.ID) })
	for _, ref := range []string{string(s.ID), remuda.ShortID(s.ID), "", "absent"} {
		wantCode(t, f.tryRead(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Script(ctx, f.org, ref)
			return err
		}), remuda.CodeNotFound)
	}
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.DeleteScript(ctx, f.org, s.ID) }), remuda.CodeNotFound)
}

func testScriptRuns(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	s := newScript(f.org)
	runs := []remuda.ScriptRun{}
	for i := range 5 {
		run := remuda.ScriptRun{Organization: f.org, Execution: remuda.NewExecutionID(), Script: s.ID, Prefix: "_var_", CreatedAt: now()}
		if i == 4 {
			run.Script, run.Prefix = "", ""
		}
		runs = append(runs, run)
	}
	f.write(func(ctx context.Context, tx *store.Tx) error {
		errs := []error{tx.InsertScript(ctx, s)}
		for _, run := range runs {
			errs = append(errs, tx.InsertScriptRun(ctx, run))
		}
		return errors.Join(errs...)
	})
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.InsertScriptRun(ctx, runs[0]) }), remuda.CodeConflict)
	answers := []remuda.ScriptAnswer{{Variable: "1", Value: "é"}}
	f.write(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.PutScriptAnswers(ctx, f.org, s.ID, "usr_1", nil, now()), tx.PutScriptAnswers(ctx, f.org, s.ID, "usr_1", answers, now()))
	})
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error {
		return tx.PutScriptAnswers(ctx, f.org, "scr_absent", "usr_1", answers, now())
	}), remuda.CodeNotFound)
	f.read(func(ctx context.Context, tx *store.Tx) error {
		for _, run := range runs {
			got, err := tx.ScriptRun(ctx, f.org, remuda.ShortID(run.Execution))
			same(t, got, run)
			if err != nil {
				return err
			}
		}
		want := slices.Clone(runs[:4])
		slices.SortFunc(want, func(a, b remuda.ScriptRun) int {
			if a.Execution < b.Execution {
				return 1
			}
			return -1
		})
		list, err := tx.ScriptRuns(ctx, f.org, s.ID, 3)
		same(t, list, want[:3])
		got, err2 := tx.ScriptAnswers(ctx, f.org, s.ID, "usr_1")
		same(t, got, answers)
		none, err3 := tx.ScriptAnswers(ctx, f.org, s.ID, "usr_2")
		same(t, len(none), 0)
		return errors.Join(err, err2, err3)
	})
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.DeleteScript(ctx, f.org, s.ID) })
	f.read(func(ctx context.Context, tx *store.Tx) error { // what has run is still told
		_, err := tx.ScriptRun(ctx, f.org, remuda.ShortID(runs[0].Execution))
		return err
	})
}

func testSessions(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	u, at := newUser(), now()
	session := func(expires time.Time) remuda.Token {
		return remuda.Token{
			ID: remuda.NewTokenID(), Organization: f.org, User: u.ID, Name: "s", Scope: remuda.ScopeWrite, Hash: newName("hash"), CreatedAt: at,
			ExpiresAt: &expires, Purpose: remuda.TokenSession, Idle: 90 * time.Second, Parent: "tok_parent",
		}
	}
	old, live := session(at.Add(-time.Minute)), session(at.Add(time.Minute))
	bearer := session(at.Add(-time.Minute))
	bearer.Purpose, bearer.Idle, bearer.Parent = remuda.TokenBearer, 0, ""
	f.write(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertUser(ctx, u), tx.InsertToken(ctx, old), tx.InsertToken(ctx, live), tx.InsertToken(ctx, bearer))
	})
	f.read(func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.TokenByHash(ctx, live.Hash)
		same(t, got, live)
		return err
	})
	later := at.Add(time.Hour)
	f.write(func(ctx context.Context, tx *store.Tx) error {
		left, err := tx.DeleteExpiredTokens(ctx, f.org, u.ID, remuda.TokenSession, at)
		same(t, left, 1)
		return errors.Join(err, tx.ProlongToken(ctx, f.org, live.ID, later))
	})
	f.read(func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Token(ctx, f.org, live.ID)
		same(t, got.ExpiresAt.Equal(later), true)
		_, err2 := tx.Token(ctx, f.org, bearer.ID)
		return errors.Join(err, err2)
	})
	first := session(at.Add(time.Second))
	f.write(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.InsertToken(ctx, first); err != nil {
			return err
		}
		gone, err := tx.DeleteTokenThatExpiresFirst(ctx, f.org, u.ID, remuda.TokenSession)
		same(t, gone, first)
		return err
	})
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.DeleteTokenThatExpiresFirst(ctx, f.org, u.ID, remuda.TokenIdentity)
		return err
	}), remuda.CodeNotFound)
	for _, wrong := range []remuda.TokenID{old.ID, "tok_absent"} {
		wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.ProlongToken(ctx, f.org, wrong, later) }), remuda.CodeNotFound)
	}
}

// makeScript adds a script with a run and answers.
func makeScript(ctx context.Context, tx *store.Tx, org remuda.OrganizationID) (object, error) {
	s := newScript(org)
	run := remuda.ScriptRun{Organization: org, Execution: remuda.NewExecutionID(), Script: s.ID, CreatedAt: now()}
	revision := 1
	return object{"script", org, map[string]operation{
		"get": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
			_, err := tx.Script(ctx, o, string(s.ID))
			return err
		},
		"byname": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
			l, err := tx.ScriptsNamed(ctx, o, s.Name, 10)
			return listed(err, len(l) == 1)
		},
		"byshort": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
			_, err := tx.Script(ctx, o, remuda.ShortID(s.ID))
			return err
		},
		"update": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
			c := s
			c.Organization, c.Revision = o, revision+1
			err := tx.UpdateScript(ctx, c)
			if err == nil {
				revision++
			}
			return err
		},
		"run": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
			_, err := tx.ScriptRun(ctx, o, remuda.ShortID(run.Execution))
			return err
		},
		"runs": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
			l, err := tx.ScriptRuns(ctx, o, s.ID, 10)
			return listed(err, len(l) == 1)
		},
		"answer": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
			return tx.PutScriptAnswers(ctx, o, s.ID, "usr_1", nil, now())
		},
		"answers": func(ctx context.Context, tx *store.Tx, o remuda.OrganizationID) error {
			l, err := tx.ScriptAnswers(ctx, o, s.ID, "usr_2")
			return listed(err, len(l) == 1)
		},
	}}, firstError(tx.InsertScript(ctx, s), tx.InsertScriptRun(ctx, run), tx.PutScriptAnswers(ctx, org, s.ID, "usr_2", []remuda.ScriptAnswer{{Variable: "1"}}, now()))
}
