package authn_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/authn"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/secret"
)

// cheap keeps the tests fast; the code does not depend on the cost.
var cheap = authn.Cost{MemoryKiB: 64, Passes: 1, Threads: 1}

func always() error { return nil }

func TestPassword(t *testing.T) {
	t.Parallel()
	h := authn.NewHasher(cheap)
	hash, err := h.Hash(t.Context(), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.Hash(t.Context(), "correct horse")
	if err != nil || hash == again {
		t.Errorf("two hashes of one password are equal (%v): no salt", err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=64,t=1,p=1$") || strings.Contains(hash, "horse") {
		t.Errorf("hash %q", hash)
	}
	for _, c := range []struct {
		hash     string
		password secret.String
		want     bool
	}{
		{hash, "correct horse", true}, {again, "correct horse", true}, {hash, "correct horsf", false}, {hash, "", false},
		{hash, "correct horse ", false}, {"", "correct horse", false}, {"", "", false},
	} {
		got, err := h.Verify(t.Context(), c.hash, c.password, always)
		if err != nil || got != c.want {
			t.Errorf("%q against %q: %v, %v", c.password.Reveal(), c.hash, got, err)
		}
	}
	dearer := authn.NewHasher(authn.Cost{MemoryKiB: 128, Passes: 1, Threads: 1})
	if ok, err := dearer.Verify(t.Context(), hash, "correct horse", always); !ok || err != nil {
		t.Errorf("a hash of another cost: %v, %v", ok, err)
	}
	if !dearer.NeedsRehash(hash) || h.NeedsRehash(hash) {
		t.Error("NeedsRehash does not tell costs apart")
	}
}

// A vector of the reference implementation (its test.c): version 19, 2 passes,
// 64 MiB, one lane, password "password", salt "somesalt".
func TestKnownHash(t *testing.T) {
	t.Parallel()
	const known = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	ok, err := authn.NewHasher(cheap).Verify(t.Context(), known, "password", always)
	if err != nil || !ok {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestVerifyAsksAndWaits(t *testing.T) {
	t.Parallel()
	h := authn.NewHasher(cheap)
	refusal := remuda.Errorf(remuda.CodeExhausted, "no")
	if ok, err := h.Verify(t.Context(), "", "x", func() error { return refusal }); ok || remuda.CodeOf(err) != remuda.CodeExhausted {
		t.Errorf("a refused check: %v, %v", ok, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// A canceled caller never gets a turn when another holds the gate.
	inside, leave := make(chan struct{}, 64), make(chan struct{})
	var wg sync.WaitGroup
	for range 64 { // more than any gate lets in
		wg.Go(func() {
			_, _ = h.Verify(t.Context(), "", "x", func() error { inside <- struct{}{}; <-leave; return refusal })
		})
	}
	<-inside
	for h.TryEnter() {
		// Other holders are still on their way in.
	}
	if _, err := h.Hash(ctx, "x"); remuda.CodeOf(err) != remuda.CodeUnavailable {
		t.Errorf("hashing for a caller that went away: %v", err)
	}
	close(leave)
	wg.Wait()
}

func TestDamagedHash(t *testing.T) {
	t.Parallel()
	h := authn.NewHasher(cheap)
	for _, bad := range []string{
		"x", "$argon2id$", "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA", "$argon2id$v=18$m=64,t=1,p=1$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA",
		"$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA", "$argon2id$v=19$m=64,t=0,p=1$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA",
		"$argon2id$v=19$m=64,t=1,p=0$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA", "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$", "$argon2id$v=19$m=64,t=1,p=1$$c29tZXNhbHRzb21lc2FsdA",
		"$argon2id$v=19$m=64,t=1,p=1 $c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA",
	} {
		if ok, err := h.Verify(t.Context(), bad, "x", always); ok || remuda.CodeOf(err) != remuda.CodeInternal {
			t.Errorf("%q: %v, %v", bad, ok, err)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	h := authn.NewHasher(cheap)
	f.Add("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA")
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$$")
	f.Fuzz(func(t *testing.T, hash string) {
		cost, err := authn.ParseCost(hash)
		if err != nil {
			return
		}
		if cost.MemoryKiB > 1<<20 || cost.Passes == 0 || cost.Passes > 64 || cost.Threads == 0 {
			t.Errorf("%q is accepted with cost %+v", hash, cost)
		}
		if h.NeedsRehash(hash) != (cost != cheap) {
			t.Errorf("NeedsRehash disagrees about %q", hash)
		}
	})
}

func TestTokenSecret(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		s, hash := authn.NewTokenSecret()
		text := s.Reveal()
		if seen[text] || !authn.LooksLikeToken(text) || len(text) != authn.TokenLength || authn.HashToken(text) != hash || strings.Contains(hash, text[4:]) {
			t.Fatalf("secret %q with hash %q", text, hash)
		}
		if strings.Contains(fmt.Sprint(s), text) {
			t.Fatal("the secret prints")
		}
		seen[text] = true
	}
	for range 1000 {
		s, hash := authn.NewUUIDSecret()
		text := s.Reveal()
		if seen[text] || !authn.LooksLikeToken(text) || len(text) != 36 || authn.HashToken(text) != hash || strings.Contains(fmt.Sprint(s), text) {
			t.Fatalf("secret %q with hash %q", text, hash)
		}
		seen[text] = true
	}
	for _, no := range []string{"00000000-0000-4000-8000-00000000000", "00000000-0000-4000-8000-0000000000000", "00000000-0000-1000-8000-000000000000", "AAAAAAAA-0000-4000-8000-000000000000", "", "rmd_", "rmd_" + strings.Repeat("a", 63), "xyz_" + strings.Repeat("a", 64)} {
		if authn.LooksLikeToken(no) {
			t.Errorf("%q looks like a token", no)
		}
	}
	if got := authn.HashToken("abc"); got != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("SHA-256 of abc is %s", got)
	}
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_000_000, 0)
	l := authn.NewLimiter(func() time.Time { return at })
	guess := func(user, address string) error {
		err := l.Allow(user, address)
		if err == nil {
			l.Failed(user, address)
		}
		return err
	}
	for i := range 10 {
		if err := guess("alice", "192.0.2.1"); err != nil {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	err := guess("alice", "192.0.2.1")
	if e, ok := err.(*remuda.Error); !ok || e.Code != remuda.CodeExhausted || e.RetryAfterSeconds < 1 || e.RetryAfterSeconds > 6 { //nolint:errorlint // the type itself is looked at
		t.Fatalf("the guess after the last: %v", err)
	}
	if err := guess("alice", "192.0.2.2"); err != nil {
		t.Errorf("alice from elsewhere is locked out: %v", err)
	}
	if err := guess("bob", "192.0.2.1"); err != nil {
		t.Errorf("bob is locked out: %v", err)
	}
	at = at.Add(6 * time.Second)
	if err := guess("alice", "192.0.2.1"); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	if guess("alice", "192.0.2.1") == nil {
		t.Error("one wait gave two guesses")
	}
	l.Succeeded("alice", "192.0.2.1")
	if err := guess("alice", "192.0.2.1"); err != nil {
		t.Errorf("after a success: %v", err)
	}
	for i := range 30_000 { // must not grow without bound
		l.Failed(fmt.Sprint("user", i), "")
	}
	if n := l.Len(); n > 10_000 {
		t.Errorf("%d entries", n)
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	if got := authn.Address(authn.WithAddress(t.Context(), "192.0.2.7")); got != "192.0.2.7" {
		t.Errorf("%q", got)
	}
	if got := authn.Address(t.Context()); got != "" {
		t.Errorf("%q", got)
	}
}
