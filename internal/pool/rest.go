package pool

import (
	"slices"
	"time"
)

// Nobody waits for the clean-up after a lease, nor for the instance that replaces
// it as long as there is stock; but both take the processor from those who wait: at
// that moment the answer of the lease is on its way out, and others may be running.
// So both rest for a breath, and while somebody's short script runs for a little
// longer, unless there is a reason not to.

const (
	// breath is how long an answer takes to get out, and then some.
	breath = 2 * time.Millisecond
	// longestRest bounds a rest while others run, and is how old a lease is of
	// which nobody believes any more that it ends soon.
	longestRest = 10 * time.Millisecond
	// mostResting bounds how many instances rest at the same time.
	mostResting = 4
)

// ease is all that a rest depends on.
type ease struct {
	stock, target int           // of the generation
	waiting       int           // cold starts that go on or wait in line
	full          bool          // every slot is in use or promised, or the organization's share of them
	over          bool          // the generation is retired, or the pool closed: nothing is put off
	resting       int           // others that do
	young         int           // leases that have just begun
	rested        time.Duration // so far
}

// rest is how much longer it may go on; 0 is not at all.
func (e ease) rest() time.Duration {
	switch {
	case e.over, e.full, e.waiting > 0, 2*e.stock < e.target, e.resting >= mostResting:
		return 0
	case e.rested < breath:
		return breath - e.rested
	case e.young > 0 && e.rested < longestRest:
		return min(breath, longestRest-e.rested)
	default:
		return 0
	}
}

// rester is what rests.
type rester struct {
	lease *Lease
	since time.Time
	timer *time.Timer
	begin func() // is called with Pool.mu
}

// atEase calls begin, which is the end of a lease, after a rest, and then has the filler
// look. Needs mu.
func (p *Pool) atEase(l *Lease, begin func()) {
	r := &rester{lease: l, since: time.Now(), begin: begin}
	left := p.easeOf(r, r.since).rest()
	if left == 0 {
		begin()
		p.wake()
		return
	}
	p.resting = append(p.resting, r)
	r.timer = time.AfterFunc(left, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.look(r)
	})
}

// look lets r go on resting or has it begin. Needs mu.
func (p *Pool) look(r *rester) {
	i := slices.Index(p.resting, r)
	if i < 0 {
		return // it has begun meanwhile
	}
	if left := p.easeOf(r, time.Now()).rest(); left > 0 {
		r.timer.Reset(left)
		return
	}
	p.resting = slices.Delete(p.resting, i, i+1)
	r.begin()
	p.wake()
}

// hurry ends every rest: somebody needs what is held up. Needs mu.
func (p *Pool) hurry() {
	resting := p.resting
	p.resting = nil
	for _, r := range resting {
		r.timer.Stop()
		r.begin()
	}
	if len(resting) > 0 {
		p.wake()
	}
}

// easeOf looks around for r. Needs mu.
func (p *Pool) easeOf(r *rester, now time.Time) ease {
	h := r.lease.herd
	_, spent := p.spent(r.lease.claim.Organization)
	e := ease{
		stock: len(h.ready), target: h.target, waiting: p.waiting, full: spent || p.slots+p.promised >= p.set.Capacity,
		over: p.closed || h.retired, resting: len(p.resting), rested: now.Sub(r.since),
	}
	if slices.Contains(p.resting, r) {
		e.resting--
	}
	if e.rested < breath {
		return e // it does not depend on the others yet
	}
	for _, h := range p.all {
		for l := range h.leases {
			if !l.over && now.Sub(l.began) < longestRest {
				e.young++
			}
		}
	}
	return e
}

// rests reports whether the stock of h can wait for a better moment. Needs mu.
func (p *Pool) rests(h *herd) bool { return len(p.resting) > 0 && 2*len(h.ready) >= h.target }
