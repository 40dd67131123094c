package organizations

import (
	"sync"
	"time"
)

// How long a token is believed without asking the store, for changes that
// another process made, and how many are remembered.
const (
	tokenFresh   = time.Second
	tokenEntries = 10_000
)

// tokenCache remembers what tokens stand for. Every change of this process that
// could matter empties it (forget), so only changes of other processes can be
// late, by at most tokenFresh.
type tokenCache struct {
	clock func() time.Time

	mu      sync.RWMutex
	version uint64 // of what is known; forget raises it
	entries map[string]knownToken
}

func newTokenCache(clock func() time.Time) *tokenCache {
	return &tokenCache{clock: clock, entries: make(map[string]knownToken)}
}

// get returns what is known of a hash. On a miss, give version to put.
func (c *tokenCache) get(hash string) (k knownToken, version uint64, hit bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	k, hit = c.entries[hash]
	age := c.clock().Sub(k.loaded)
	// A clock that was set back must not keep an entry for ever.
	return k, c.version, hit && age >= 0 && age < tokenFresh
}

// put remembers what was read after get gave version. If something was
// forgotten since, the reading may be from before the change and is not kept.
func (c *tokenCache) put(hash string, version uint64, k knownToken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.version != version {
		return
	}
	if len(c.entries) >= tokenEntries {
		clear(c.entries)
	}
	k.loaded = c.clock()
	c.entries[hash] = k
}

// forget empties the cache. Call it after the commit of a change to tokens,
// users or roles, before the change is acknowledged.
func (c *tokenCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	clear(c.entries)
}

// prolonged notes a later expiry of what is known of a hash.
func (c *tokenCache) prolonged(hash string, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k, ok := c.entries[hash]; ok {
		k.expires = &until
		c.entries[hash] = k
	}
}
