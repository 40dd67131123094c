package executions

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// keyLifetime is how long an idempotency key is remembered.
const keyLifetime = 24 * time.Hour

// keyScope is within which an idempotency key means one execution.
type keyScope struct {
	organization remuda.OrganizationID
	user         remuda.UserID
	key          string
}

// keyed is a request with an idempotency key on its way: from its admission until
// the store holds its end. After that the store knows the key.
type keyed struct {
	fingerprint string
	settled     chan struct{} // closed when r is known, or the request was refused
	r           *run          // nil if it was refused; valid once settled
}

// fingerprint is the same for requests that ask for the same.
func fingerprint(req remuda.ExecutionRequest) (string, error) {
	raw, err := json.Marshal(req) // keys of maps are sorted
	if err != nil {
		return "", remuda.Internal("comparing requests", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// submitOnce is SubmitExecution of a request with an idempotency key.
func (s *Service) submitOnce(ctx context.Context, p remuda.Principal, req remuda.ExecutionRequest, wait time.Duration, accepted time.Time) (remuda.Execution, error) {
	sum, err := fingerprint(req)
	if err != nil {
		return remuda.Execution{}, err
	}
	scope := keyScope{p.Organization, p.User, req.IdempotencyKey}
	for {
		k, first := s.takeKey(scope, sum)
		if k.fingerprint != sum {
			return remuda.Execution{}, errOtherRequest(req.IdempotencyKey)
		}
		if first {
			return s.submitFirst(ctx, p, req, wait, accepted, k)
		}
		select {
		case <-k.settled:
		case <-ctx.Done():
			return remuda.Execution{}, remuda.Errorf(remuda.CodeCanceled, "wait for an equal request with the same idempotency key: %w", ctx.Err())
		}
		if k.r != nil {
			return s.answer(ctx, k.r, wait)
		}
		// The other one was refused, which this one need not be.
	}
}

func errOtherRequest(key string) error {
	return &remuda.Error{
		Code: remuda.CodeConflict, Message: fmt.Sprintf("the idempotency key %q belongs to another request", key),
		Cause: "an earlier request with this key asked for something else", Remedy: "send the earlier request again without a change, or give this one a new key",
	}
}

// takeKey returns who is on the way with this key, and whether that is the caller,
// who then has to call settleKey.
func (s *Service) takeKey(scope keyScope, sum string) (k *keyed, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.keys[scope]; k != nil {
		return k, false
	}
	k = &keyed{fingerprint: sum, settled: make(chan struct{})}
	s.keys[scope] = k
	return k, true
}

// submitFirst starts what has the key to itself, unless the store knows the key.
func (s *Service) submitFirst(ctx context.Context, p remuda.Principal, req remuda.ExecutionRequest, wait time.Duration, accepted time.Time, k *keyed) (remuda.Execution, error) {
	known, err := s.recall(ctx, p, req.IdempotencyKey)
	if err != nil || known.Execution != "" {
		s.settleKey(p, req.IdempotencyKey, k, nil)
	}
	switch {
	case err != nil:
		return remuda.Execution{}, err
	case known.Execution != "" && known.Fingerprint != k.fingerprint:
		return remuda.Execution{}, errOtherRequest(req.IdempotencyKey)
	case known.Execution != "":
		if r := s.find(p, known.Execution); r != nil { // of an earlier server, and gone on with
			return s.answer(ctx, r, wait)
		}
		return s.stored(ctx, p, known.Execution)
	}
	r := newRun(p, req, accepted)
	r.fingerprint = k.fingerprint
	if err := s.launch(ctx, r); err != nil {
		s.settleKey(p, req.IdempotencyKey, k, nil)
		return remuda.Execution{}, err
	}
	s.settleKey(p, req.IdempotencyKey, k, r)
	return s.answer(ctx, r, wait)
}

// recall asks the store for a key; one that it does not know is empty.
func (s *Service) recall(ctx context.Context, p remuda.Principal, key string) (known store.IdempotencyKey, err error) {
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		known, err = tx.IdempotencyKey(ctx, p.Organization, p.User, key)
		if remuda.CodeOf(err) == remuda.CodeNotFound {
			known, err = store.IdempotencyKey{}, nil
		}
		return err
	})
	return known, err
}

// settleKey says what became of a request: r, or nil if there is no run of it. The
// key of a run is given up when the run is dropped.
func (s *Service) settleKey(p remuda.Principal, key string, k *keyed, r *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k.r = r
	if r == nil || s.live[r.id] != r { // it may have ended already
		delete(s.keys, keyScope{p.Organization, p.User, key})
	}
	close(k.settled)
}

// dropKey forgets the key of a run. Needs mu.
func (s *Service) dropKey(r *run) {
	if r.fingerprint == "" {
		return
	}
	scope := keyScope{r.p.Organization, r.p.User, r.req.IdempotencyKey}
	if k := s.keys[scope]; k != nil && k.r == r {
		delete(s.keys, scope)
	}
}

// insert writes the row of the run, and its idempotency key with it.
func (r *run) insert(ctx context.Context, tx *store.Tx, row remuda.Execution) error {
	if err := tx.InsertExecution(ctx, row); err != nil {
		return err
	}
	return r.insertKey(ctx, tx, row)
}

// insertKey adds the idempotency key of the request, if it has one.
func (r *run) insertKey(ctx context.Context, tx *store.Tx, row remuda.Execution) error {
	if r.fingerprint == "" {
		return nil
	}
	return tx.InsertIdempotencyKey(ctx, store.IdempotencyKey{
		Organization: row.Organization, User: r.p.User, Key: r.req.IdempotencyKey, Execution: row.ID, Fingerprint: r.fingerprint, CreatedAt: row.CreatedAt,
	})
}

// forgetKeys removes the keys that are remembered no longer.
func (s *Service) forgetKeys(ctx context.Context) {
	err := s.store.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.ForgetIdempotencyKeys(ctx, time.Now().Add(-keyLifetime))
		return err
	})
	if err != nil && ctx.Err() == nil {
		s.log.Error("old idempotency keys could not be forgotten", "error", err)
	}
}
