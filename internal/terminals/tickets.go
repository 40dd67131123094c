package terminals

import (
	"crypto/rand"
	"crypto/sha256"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// ticketPrefix begins every ticket, so that one is known for what it is where it
// should not be.
const ticketPrefix = "rmtk_"

// maxTickets bounds those of one terminal that wait to be used.
const maxTickets = 32

// tickets are the ones that can be used, by the hash of their secret.
type tickets map[[sha256.Size]byte]*ticket

type ticket struct {
	terminal remuda.TerminalID
	p        remuda.Principal
	expires  time.Time // zero as long as the connection lives that holds it
}

// issue makes one.
func (t tickets) issue(id remuda.TerminalID, p remuda.Principal, expires time.Time) (remuda.TerminalTicket, error) {
	t.expire(time.Now())
	n := 0
	for _, other := range t {
		if other.terminal == id {
			n++
		}
	}
	if n >= maxTickets {
		return remuda.TerminalTicket{}, &remuda.Error{
			Code: remuda.CodeExhausted, Message: "too many tickets of this terminal wait to be used", Remedy: "use one of them, or wait until they expire", RetryAfterSeconds: 30,
		}
	}
	secret := ticketPrefix + rand.Text()
	t[sha256.Sum256([]byte(secret))] = &ticket{terminal: id, p: p, expires: expires}
	return remuda.TerminalTicket{Secret: secret, ExpiresAt: expires}, nil
}

// take uses one up, whatever comes of it.
func (t tickets) take(secret string) (*ticket, bool) {
	key := sha256.Sum256([]byte(secret))
	found := t[key]
	delete(t, key)
	if found == nil || !found.expires.IsZero() && !time.Now().Before(found.expires) {
		return nil, false
	}
	return found, true
}

// expire forgets those that nobody can use any more.
func (t tickets) expire(now time.Time) {
	for key, v := range t {
		if !v.expires.IsZero() && !now.Before(v.expires) {
			delete(t, key)
		}
	}
}

// drop forgets those of a terminal.
func (t tickets) drop(id remuda.TerminalID) {
	for key, v := range t {
		if v.terminal == id {
			delete(t, key)
		}
	}
}

// until makes one that a connection held expire.
func (t tickets) until(secret string, expires time.Time) {
	if v := t[sha256.Sum256([]byte(secret))]; v != nil {
		v.expires = expires
	}
}
