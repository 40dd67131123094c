package authn

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/semaphore"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/secret"
)

// Cost is what one computation of a password hash takes.
type Cost struct {
	MemoryKiB uint32
	Passes    uint32
	Threads   uint8
}

// DefaultCost is the only place where the cost of new hashes is set. Hashes of
// another cost stay valid and are replaced at the next login (NeedsRehash). The
// memory is small enough for a server that idles at 60 MB.
var DefaultCost = Cost{MemoryKiB: 19 * 1024, Passes: 2, Threads: 1}

const (
	saltBytes = 16
	keyBytes  = 32
)

// MinPasswordLength is the fewest characters of a password; MaxPasswordBytes
// keeps hashing from being a way to burn the server's time.
const (
	MinPasswordLength = 8
	MaxPasswordBytes  = 1024
)

// Hasher computes and checks password hashes, a few at a time: each takes
// memory and a core for some ten milliseconds.
type Hasher struct {
	cost  Cost
	gate  *semaphore.Weighted
	dummy string // hash of nobody's password
}

// NewHasher returns a hasher that makes hashes of the given cost.
func NewHasher(cost Cost) *Hasher {
	h := &Hasher{cost: cost, gate: semaphore.NewWeighted(max(1, int64(runtime.GOMAXPROCS(0)/2)))}
	h.dummy = h.hash(rand.Text())
	return h
}

// Hash returns the PHC string of a password: "$argon2id$v=19$m=..,t=..,p=..$salt$key".
func (h *Hasher) Hash(ctx context.Context, password secret.String) (string, error) {
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer h.gate.Release(1)
	return h.hash(password.Reveal()), nil
}

// Verify reports whether password belongs to the hash. With an empty hash, as of
// an unknown user, it takes as long and reports false. allow is asked when it is
// this check's turn, so that a limit on guessing also holds for many guesses that
// were sent at once.
func (h *Hasher) Verify(ctx context.Context, hash string, password secret.String, allow func() error) (bool, error) {
	known := hash != ""
	if !known {
		hash = h.dummy
	}
	cost, salt, key, err := parse(hash)
	if err != nil {
		return false, remuda.Internal("checking a password", err)
	}
	if err := h.enter(ctx); err != nil {
		return false, err
	}
	defer h.gate.Release(1)
	if err := allow(); err != nil {
		return false, err
	}
	got := argon2.IDKey([]byte(password.Reveal()), salt, cost.Passes, cost.MemoryKiB, cost.Threads, uint32(len(key)))
	same := subtle.ConstantTimeCompare(got, key) == 1
	return same && known, nil
}

// NeedsRehash reports whether a hash was made with another cost than new ones.
func (h *Hasher) NeedsRehash(hash string) bool {
	cost, _, _, err := parse(hash)
	return err == nil && cost != h.cost
}

func (h *Hasher) hash(password string) string {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails
	key := argon2.IDKey([]byte(password), salt, h.cost.Passes, h.cost.MemoryKiB, h.cost.Threads, keyBytes)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.cost.MemoryKiB, h.cost.Passes, h.cost.Threads,
		b64.EncodeToString(salt), b64.EncodeToString(key))
}

func (h *Hasher) enter(ctx context.Context) error {
	if err := h.gate.Acquire(ctx, 1); err != nil {
		return &remuda.Error{
			Code: remuda.CodeUnavailable, Message: "the password could not be checked in time", Cause: "too many passwords are being checked",
			Remedy: "try again, or use a token, which needs no password hash", RetryAfterSeconds: 1, Err: err,
		}
	}
	return nil
}

// Bounds of the costs that parse accepts, so that a damaged row cannot take all
// memory.
const (
	maxMemoryKiB = 1 << 20
	maxPasses    = 64
	maxKeyBytes  = 128
)

var errHash = errors.New("not an argon2id hash in PHC form")

// parse takes a PHC string apart.
func parse(hash string) (cost Cost, salt, key []byte, err error) {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return Cost{}, nil, nil, errHash
	}
	var m, t, p uint32
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &m, &t, &p); err != nil || n != 3 || parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", m, t, p) {
		return Cost{}, nil, nil, errHash
	}
	if t < 1 || t > maxPasses || p < 1 || p > 255 || m < 8*p || m > maxMemoryKiB {
		return Cost{}, nil, nil, errHash
	}
	b64 := base64.RawStdEncoding.Strict()
	salt, err = b64.DecodeString(parts[4])
	if err != nil || len(salt) < 8 || len(salt) > maxKeyBytes {
		return Cost{}, nil, nil, errHash
	}
	key, err = b64.DecodeString(parts[5])
	if err != nil || len(key) < 16 || len(key) > maxKeyBytes {
		return Cost{}, nil, nil, errHash
	}
	return Cost{MemoryKiB: m, Passes: t, Threads: uint8(p)}, salt, key, nil
}
