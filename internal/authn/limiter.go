package authn

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Bounds of guessing: after Burst failures of one user from one address, one
// more is allowed every Interval.
const (
	limiterBurst    = 10
	limiterInterval = 6 * time.Second
	limiterEntries  = 10_000
)

// Limiter slows down guessing of passwords. It counts failures per user and
// address, so that a stranger cannot lock a user out from elsewhere.
type Limiter struct {
	clock func() time.Time

	mu    sync.Mutex
	debts map[attempt]time.Time // when the failures so far are forgotten
}

type attempt struct{ user, address string }

// NewLimiter returns a limiter that reads the time from clock.
func NewLimiter(clock func() time.Time) *Limiter {
	return &Limiter{clock: clock, debts: make(map[attempt]time.Time)}
}

// Allow returns an error with CodeExhausted when user may not try a password
// from address now.
func (l *Limiter) Allow(user, address string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, known := l.debts[attempt{user, address}]
	over := until.Add(limiterInterval).Sub(l.clock()) - limiterBurst*limiterInterval
	if !known || over <= 0 { // without an entry the difference is out of range
		return nil
	}
	return &remuda.Error{
		Code: remuda.CodeExhausted, Message: "too many failed attempts to log in",
		Cause: "each wrong password makes the next attempt wait", Remedy: "wait, then use the right password, or a token",
		RetryAfterSeconds: int(math.Ceil(over.Seconds())),
	}
}

// Failed counts a wrong password of user from address.
func (l *Limiter) Failed(user, address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, key := l.clock(), attempt{user, address}
	until, known := l.debts[key]
	if !known && len(l.debts) >= limiterEntries {
		l.forget(now)
	}
	if until.Before(now) {
		until = now
	}
	l.debts[key] = until.Add(limiterInterval)
}

// Succeeded forgets the failures of user from address.
func (l *Limiter) Succeeded(user, address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.debts, attempt{user, address})
}

// forget drops what no longer counts, and if that is not a quarter, anything:
// the memory is bounded whoever is guessing, and so is the work, since the next
// thousands of names find room.
func (l *Limiter) forget(now time.Time) {
	for key, until := range l.debts {
		if until.Before(now) {
			delete(l.debts, key)
		}
	}
	for key := range l.debts {
		if len(l.debts) <= limiterEntries*3/4 {
			return
		}
		delete(l.debts, key)
	}
}

type addressKey struct{}

// WithAddress returns a context that carries the network address of the client,
// without its port, for the limit on guessing. Edges set it.
func WithAddress(ctx context.Context, address string) context.Context {
	return context.WithValue(ctx, addressKey{}, address)
}

// Address returns what WithAddress set, or "".
func Address(ctx context.Context) string {
	a, _ := ctx.Value(addressKey{}).(string)
	return a
}
