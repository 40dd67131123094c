package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// testIdempotencyKeys: a key means one execution of one user of one organization,
// and is forgotten by its age.
func testIdempotencyKeys(in subject) {
	t := in.t
	f := newFixture(t, in.b)
	other := f.newOrganization()
	keyOf := func(org remuda.OrganizationID, user remuda.UserID, e remuda.Execution, age time.Duration) store.IdempotencyKey {
		return store.IdempotencyKey{Organization: org, User: user, Key: "k'\"%", Execution: e.ID, Fingerprint: "f", CreatedAt: now().Add(-age)}
	}
	ours, theirs := newExecution(f.org), newExecution(other)
	mine, hers, elsewhere := keyOf(f.org, "usr_1", ours, 0), keyOf(f.org, "usr_2", ours, time.Hour), keyOf(other, "usr_1", theirs, 0)
	f.write(func(ctx context.Context, tx *store.Tx) error {
		err := errors.Join(tx.InsertExecution(ctx, ours), tx.InsertExecution(ctx, theirs))
		for _, k := range []store.IdempotencyKey{mine, hers, elsewhere} {
			err = errors.Join(err, tx.InsertIdempotencyKey(ctx, k))
		}
		return err
	})
	wantCode(t, f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.InsertIdempotencyKey(ctx, mine) }), remuda.CodeConflict)
	absent := keyOf(f.org, "usr_3", newExecution(f.org), 0)
	if err := f.tryWrite(func(ctx context.Context, tx *store.Tx) error { return tx.InsertIdempotencyKey(ctx, absent) }); err == nil {
		t.Error("a key of an execution that does not exist was added")
	}
	find := func(k store.IdempotencyKey) (got store.IdempotencyKey, err error) {
		err = f.tryRead(func(ctx context.Context, tx *store.Tx) error {
			got, err = tx.IdempotencyKey(ctx, k.Organization, k.User, k.Key)
			return err
		})
		return got, err
	}
	for _, k := range []store.IdempotencyKey{mine, hers, elsewhere} {
		got, err := find(k)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, k)
	}
	f.write(func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.ForgetIdempotencyKeys(ctx, now().Add(-time.Minute))
		if n != 1 {
			t.Errorf("%d keys were forgotten, want the old one", n)
		}
		return err
	})
	_, err := find(hers)
	wantCode(t, err, remuda.CodeNotFound)
	if _, err := find(mine); err != nil {
		t.Errorf("a young key: %v", err)
	}
}
