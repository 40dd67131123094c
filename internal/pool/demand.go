package pool

import (
	"math"
	"time"
)

// meter tells from recent leases how many warm instances a generation wants: as
// many as were wanted at once, and as many as are taken while one is started.
// What it remembers fades by half with every half life.
type meter struct {
	half  time.Duration
	rate  float64 // leases in a second
	burst float64 // most leases that were open at once
	at    time.Time
}

// fade brings the meter up to now.
func (m *meter) fade(now time.Time) {
	if passed := now.Sub(m.at); passed > 0 {
		left := math.Exp2(-passed.Seconds() / m.half.Seconds())
		m.rate *= left
		m.burst *= left
	}
	m.at = now
}

// lease counts a lease. open are those that go on, this one included and old ones
// left out: who keeps an instance for long is in nobody's way.
func (m *meter) lease(now time.Time, open int) {
	m.fade(now)
	m.rate += math.Ln2 / m.half.Seconds() // in balance, this is what fades
	m.burst = max(m.burst, float64(open))
}

// slack keeps the trace of what is long past from being rounded up to one: a
// single lease is forgotten after two half lives.
const slack = 0.25

// want is how many warm instances there should be when one takes start to make.
func (m *meter) want(now time.Time, start time.Duration) int {
	m.fade(now)
	return max(0, int(math.Ceil(m.burst+m.rate*start.Seconds()-slack)))
}
