package authn

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/remuda-run/remuda/internal/secret"
)

// TokenPrefix begins the secret of every token, so that scanners for leaked
// secrets can find them.
const TokenPrefix = "rmd_"

const tokenBytes = 32

// TokenLength is the length of a token's secret in bytes.
const TokenLength = len(TokenPrefix) + 2*tokenBytes

// NewTokenSecret returns a fresh secret of 256 random bits and its hash.
func NewTokenSecret() (secret.String, string) {
	raw := make([]byte, tokenBytes)
	_, _ = rand.Read(raw) // never fails
	s := TokenPrefix + hex.EncodeToString(raw)
	return secret.String(s), HashToken(s)
}

// NewUUIDSecret is NewTokenSecret for clients that know keys as UUIDs. It has 122
// random bits, and no prefix that scanners could find it by.
func NewUUIDSecret() (secret.String, string) {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw)       // never fails
	raw[6] = raw[6]&0x0f | 0x40 // version 4, of RFC 9562
	raw[8] = raw[8]&0x3f | 0x80
	s := fmt.Sprintf("%x-%x-%x-%x-%x", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:])
	return secret.String(s), HashToken(s)
}

var uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// HashToken returns the hex SHA-256 of a secret, by which it is stored. A fast
// hash is enough: nobody guesses so many random bits.
func HashToken(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// LooksLikeToken reports whether s has the form of a token's secret.
func LooksLikeToken(s string) bool {
	return len(s) == TokenLength && strings.HasPrefix(s, TokenPrefix) || uuidPattern.MatchString(s)
}
