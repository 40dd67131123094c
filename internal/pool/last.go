package pool

import (
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Where several organizations use the node together, the instances of one that has
// burned far more processor time lately than the others come last: they have what the
// others leave, and the others' need not wait until a slice of theirs has ended.

const (
	// lookAtBurning is how often is looked at who burns how much, during a contest.
	lookAtBurning = 200 * time.Millisecond
	// leastBurning is how many processors an organization may keep busy whatever the
	// others do.
	leastBurning = 0.25
	// An organization comes last when it burns so many times as much as each of the
	// others on average, and no longer when it burns less than the second of these.
	burnsMore, burnsStill = 2, 1.25
)

// comeLast says who comes last now, by how many processors each keeps busy and by who
// came last before. Once the others use what is left to them, it is one among equals again.
func comeLast(rates map[remuda.OrganizationID]float64, before map[remuda.OrganizationID]bool) map[remuda.OrganizationID]bool {
	sum := 0.0
	for _, rate := range rates {
		sum += rate
	}
	last := map[remuda.OrganizationID]bool{}
	for org, rate := range rates {
		factor := float64(burnsMore)
		if before[org] {
			factor = burnsStill
		}
		others := (sum - rate) / float64(max(1, len(rates)-1))
		if rate >= leastBurning && rate > factor*others {
			last[org] = true
		}
	}
	return last
}

// burning is what the organizations burn. It is guarded by Pool.mu.
type burning struct {
	at    time.Time                               // of the last look; zero while nobody looks
	spent map[remuda.OrganizationID]time.Duration // since then
	rates map[remuda.OrganizationID]float64       // processors kept busy, half of it in the last look's time
	last  map[remuda.OrganizationID]bool          // who comes last
}

// begin has it look from now on.
func (b *burning) begin(now time.Time) {
	*b = burning{at: now, spent: map[remuda.OrganizationID]time.Duration{}, rates: map[remuda.OrganizationID]float64{}}
}

// look makes rates of what was spent, and of these who comes last.
func (b *burning) look(now time.Time) {
	const forgotten = 0.01
	took := now.Sub(b.at).Seconds()
	if took <= 0 { // the first look: what was burned since another contest is no matter
		clear(b.spent)
		return
	}
	for org, rate := range b.rates {
		if b.rates[org] = rate / 2; rate < forgotten {
			delete(b.rates, org)
		}
	}
	for org, spent := range b.spent {
		b.rates[org] += spent.Seconds() / took / 2
	}
	clear(b.spent)
	b.at, b.last = now, comeLast(b.rates, b.last)
}

// tally books what the instance of l has burned since it was last asked. Needs mu.
func (p *Pool) tally(l *Lease) {
	b := &p.burning
	if b.at.IsZero() {
		return
	}
	able := l.laster()
	if able == nil {
		return
	}
	burned := able.Burned() // of the kernel, in some microseconds
	if before := l.burned; burned > before {
		l.burned = burned
		if before > 0 || !l.began.Before(b.at) { // else it is of the time before the contest
			b.spent[l.claim.Organization] += burned - before
		}
	}
}

// weighBurning looks at who burns how much and tells the instances. It reports whether
// there is anything to look at again. Only Run calls it.
func (p *Pool) weighBurning(now time.Time) bool {
	p.mu.Lock()
	on := p.contested(now)
	switch {
	case !on && p.burning.at.IsZero():
		p.mu.Unlock()
		return false
	case !on:
		p.burning = burning{}
	case p.burning.at.IsZero():
		p.burning.begin(now)
	}
	type turn struct {
		inst engine.Laster
		last bool
	}
	var turns []turn
	for _, h := range p.all {
		for l := range h.leases {
			p.tally(l)
		}
	}
	if on {
		p.burning.look(now)
	}
	for _, h := range p.all {
		for l := range h.leases {
			if able := l.laster(); able != nil {
				turns = append(turns, turn{able, p.burning.last[l.claim.Organization]})
			}
		}
	}
	p.mu.Unlock()
	for _, t := range turns { // outside the lock; what changed meanwhile is told the next time
		t.inst.Last(t.last)
	}
	return on
}

// comesLast reports whether the instances of an organization come last now.
func (p *Pool) comesLast(org remuda.OrganizationID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.burning.last[org]
}

// laster is the instance of l, if it is there and can come last. Takes l.mu.
func (l *Lease) laster() engine.Laster {
	l.mu.Lock()
	defer l.mu.Unlock()
	able, _ := l.inst.(engine.Laster)
	return able
}
