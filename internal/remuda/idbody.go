package remuda

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"sync"
	"time"
)

// idBodies makes the bodies of ids, each above the one before (RFC 9562, section 6.2,
// method 2): of two in one millisecond, the second has the random bits of the first
// and a random number more, which is large enough that nobody guesses one from the
// other.
type idBodies struct {
	mu     sync.Mutex
	ms     uint64 // of the last one
	hi, lo uint64 // its random bits
}

const (
	// idStep is how many of the upper 64 random bits are left out of a step. So many
	// steps have room in a millisecond that none is made in which they would not.
	idStep = 16
	// idClockBack is how far, in milliseconds, a clock that is set back does not
	// matter. Further back it is followed, as the times of objects follow it.
	idClockBack = 1000
)

func (b *idBodies) next(now time.Time) [idBodyBytes]byte {
	var random [16]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read never fails (it ends the program instead)
	return b.after(uint64(max(0, now.UnixMilli())), binary.BigEndian.Uint64(random[:8]), binary.BigEndian.Uint64(random[8:]))
}

// after is the next body at a time, made of 128 random bits.
func (b *idBodies) after(ms, hi, lo uint64) [idBodyBytes]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ms > b.ms || b.ms-ms > idClockBack {
		b.ms, b.hi, b.lo = ms, hi>>1, lo // half of the room, at least, is for steps
		return idBody(b.ms, b.hi, b.lo)
	}
	low, carry := bits.Add64(b.lo, lo|1, 0)
	high, full := bits.Add64(b.hi, hi>>idStep, carry)
	if full != 0 {
		b.ms++
		high, low = hi>>1, lo
	}
	b.hi, b.lo = high, low
	return idBody(b.ms, b.hi, b.lo)
}

func idBody(ms, hi, lo uint64) (raw [idBodyBytes]byte) {
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], ms)
	copy(raw[:idTimeBytes], at[8-idTimeBytes:])
	binary.BigEndian.PutUint64(raw[idTimeBytes:], hi)
	binary.BigEndian.PutUint64(raw[idTimeBytes+8:], lo)
	return raw
}
