package authn

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
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

// HashToken returns the hex SHA-256 of a secret, by which it is stored. A fast
// hash is enough: nobody guesses 256 random bits.
func HashToken(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// LooksLikeToken reports whether s has the form of a token's secret.
func LooksLikeToken(s string) bool {
	return len(s) == TokenLength && strings.HasPrefix(s, TokenPrefix)
}
