package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

func entryOf(org remuda.OrganizationID, action string) remuda.AuditEntry {
	return remuda.AuditEntry{
		Organization: org, User: "usr_1", Action: action, Object: "ex_1", Outcome: remuda.OutcomeOK, RequestID: "req_1", At: now(),
		Details: map[string]string{"k": "v", "a": "b\n"},
	}
}

func testAudit(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	other := f.newOrganization()
	first, second := entryOf(f.org, "one"), entryOf(f.org, "two")
	second.Details = nil
	f.write(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.AppendAudit(ctx, first), tx.AppendAudit(ctx, entryOf(other, "foreign")), tx.AppendAudit(ctx, second))
	})
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.AppendAudit(ctx, entryOf("org_absent", "x")) }), remuda.CodeNotFound)
	f.read(func(ctx context.Context, tx *store.Tx) error {
		got, _, err := tx.Audit(ctx, f.org, remuda.Page{})
		if len(got) != 2 || got[0].Hash == got[1].Hash || len(got[0].Hash) != 64 {
			t.Fatalf("%+v", got)
		}
		second.Seq, second.Hash, first.Seq, first.Hash = 2, got[0].Hash, 1, got[1].Hash
		same(t, got, []remuda.AuditEntry{second, first})
		return err
	})
	if err := f.VerifyAudit(t.Context()); err != nil {
		t.Error(err)
	}
}

// Whatever is changed behind the store's back, the verification says so and
// names the organization and the first entry that cannot be trusted.
func testAuditAltered(in subject) {
	t, b := in.t, in.b
	for name, c := range map[string]struct {
		queries []string
		at      string
	}{
		"action":         {[]string{"UPDATE audit_entries SET action = 'other' WHERE organization = $1 AND seq = 5"}, "entry 5"},
		"user":           {[]string{"UPDATE audit_entries SET user_id = 'usr_2' WHERE organization = $1 AND seq = 5"}, "entry 5"},
		"time":           {[]string{"UPDATE audit_entries SET at = at + 1 WHERE organization = $1 AND seq = 1"}, "entry 1"},
		"details":        {[]string{`UPDATE audit_entries SET details = '{}' WHERE organization = $1 AND seq = 10`}, "entry 10"},
		"field boundary": {[]string{"UPDATE audit_entries SET action = action || object, object = '' WHERE organization = $1 AND seq = 5"}, "entry 5"},
		"hash":           {[]string{"UPDATE audit_entries SET hash = 'ff' WHERE organization = $1 AND seq = 5"}, "entry 5"},
		"delete first":   {[]string{"DELETE FROM audit_entries WHERE organization = $1 AND seq = 1"}, "entry 1"},
		"delete middle":  {[]string{"DELETE FROM audit_entries WHERE organization = $1 AND seq = 5"}, "entry 5"},
		"delete last":    {[]string{"DELETE FROM audit_entries WHERE organization = $1 AND seq = 10"}, "entry 10"},
		"delete all":     {[]string{"DELETE FROM audit_entries WHERE organization = $1"}, "entry 1"},
		"forget":         {[]string{"DELETE FROM audit_heads WHERE organization = $1"}, "entry 1"},
		"rewind": {[]string{"DELETE FROM audit_entries WHERE organization = $1 AND seq > 8",
			"UPDATE audit_heads SET seq = 8 WHERE organization = $1"}, "entry 8"},
		"swap": {[]string{"UPDATE audit_entries SET seq = -1 WHERE organization = $1 AND seq = 4",
			"UPDATE audit_entries SET seq = 4 WHERE organization = $1 AND seq = 5",
			"UPDATE audit_entries SET seq = 5 WHERE organization = $1 AND seq = -1"}, "entry 4"},
		"close the gap": {[]string{"DELETE FROM audit_entries WHERE organization = $1 AND seq = 5",
			"UPDATE audit_entries SET seq = 5 WHERE organization = $1 AND seq = 10"}, "entry 5"},
		"add": {[]string{`INSERT INTO audit_entries (organization, seq, at, user_id, action, object, outcome, request_id, details, hash)
			SELECT organization, 11, at, user_id, action, object, outcome, request_id, details, hash FROM audit_entries WHERE organization = $1 AND seq = 10`}, "entry 11"},
		"move to another organization": {[]string{"UPDATE audit_entries SET organization = 'org_global' WHERE organization = $1 AND seq = 10"}, "entry 10"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, b)
			for range 10 {
				f.write(func(ctx context.Context, tx *store.Tx) error { return tx.AppendAudit(ctx, entryOf(f.org, "act")) })
			}
			if err := f.VerifyAudit(t.Context()); err != nil {
				t.Fatalf("before anything was altered: %v", err)
			}
			for _, q := range c.queries {
				if err := b.Alter(t.Context(), f.location, q, string(f.org)); err != nil {
					t.Fatalf("%s: %v", q, err)
				}
			}
			err := f.VerifyAudit(t.Context())
			wantCode(t, err, remuda.CodePrecondition)
			if !strings.HasSuffix(strings.SplitN(err.Error(), ":", 2)[0], c.at) {
				t.Errorf("%v does not name %s", err, c.at)
			}
		})
	}
}

// Entries that come together are a chain like any other, and all belong to one
// organization.
func testAuditTogether(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	for _, n := range []int{1, 2, 3, 2} {
		entries := make([]remuda.AuditEntry, n)
		for i := range entries {
			entries[i] = entryOf(f.org, fmt.Sprintf("act %d of %d", i, n))
		}
		f.write(func(ctx context.Context, tx *store.Tx) error { return tx.AppendAudit(ctx, entries...) })
	}
	f.write(func(ctx context.Context, tx *store.Tx) error { return tx.AppendAudit(ctx) })
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error {
		return tx.AppendAudit(ctx, entryOf(f.org, "a"), entryOf(remuda.GlobalOrganization, "b"))
	}), remuda.CodeInternal)
	if err := f.VerifyAudit(t.Context()); err != nil {
		t.Error(err)
	}
	f.read(func(ctx context.Context, tx *store.Tx) error {
		list, _, err := tx.Audit(ctx, f.org, remuda.Page{Limit: 50})
		var actions []string
		for _, e := range list {
			actions = append(actions, e.Action)
		}
		same(t, actions, []string{"act 1 of 2", "act 0 of 2", "act 2 of 3", "act 1 of 3", "act 0 of 3", "act 1 of 2", "act 0 of 2", "act 0 of 1"})
		return err
	})
}

// Entries of undone writes leave no gap, and another server's entries are
// continued from.
func testAuditAfterUndo(in subject) {
	t, b := in.t, in.b
	f := newFixture(t, b)
	second := mustOpen(t, b, f.location)
	defer func() { _ = second.Close() }()
	for i := range 20 {
		err := f.tryWrite(func(ctx context.Context, tx *store.Tx) error {
			if err := tx.AppendAudit(ctx, entryOf(f.org, "undone")); err != nil {
				return err
			}
			if i%3 == 0 {
				return errOwn
			}
			return nil
		})
		if (err != nil) != (i%3 == 0) {
			t.Fatal(err)
		}
		if err := second.Write(t.Context(), func(tx *store.Tx) error { return tx.AppendAudit(t.Context(), entryOf(f.org, "other server")) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.VerifyAudit(t.Context()); err != nil {
		t.Error(err)
	}
	f.read(func(ctx context.Context, tx *store.Tx) error {
		got, _, err := tx.Audit(ctx, f.org, remuda.Page{})
		same(t, len(got), 33)
		return err
	})
}
