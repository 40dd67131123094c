package executions

import (
	"sync"
	"time"
)

// dueList has things done that are due the same time after they were added. All of
// them share one timer, which goes on when its own thing was done already: what is
// over before it is due, as almost all is, starts and stops no timer, each of which
// would wake a thread that waits for the network.
type dueList struct {
	after time.Duration

	mu      sync.Mutex
	waiting []*dueThing // in the order in which they are due
	armed   bool        // the timer runs
}

// dueThing is one of them.
type dueThing struct {
	list *dueList
	at   time.Time
	do   func() // nil once it was taken back; guarded by list.mu
}

// add has do called once, on another goroutine, unless it is taken back before.
func (l *dueList) add(do func()) *dueThing {
	t := &dueThing{list: l, at: time.Now().Add(l.after), do: do}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, t)
	if !l.armed {
		l.armed = true
		time.AfterFunc(l.after, l.sweep)
	}
	return t
}

// takeBack is for what need not be done any more. It may be under way.
func (t *dueThing) takeBack() {
	t.list.mu.Lock()
	defer t.list.mu.Unlock()
	t.do = nil
}

// sweep does what is due, and comes again for what is left.
func (l *dueList) sweep() {
	now := time.Now()
	var do []func()
	l.mu.Lock()
	n := 0
	for ; n < len(l.waiting) && (l.waiting[n].do == nil || !l.waiting[n].at.After(now)); n++ {
		if f := l.waiting[n].do; f != nil {
			do = append(do, f)
		}
		l.waiting[n] = nil
	}
	if l.waiting = l.waiting[n:]; len(l.waiting) > 0 {
		time.AfterFunc(l.waiting[0].at.Sub(now), l.sweep)
	} else {
		l.waiting, l.armed = nil, false
	}
	l.mu.Unlock()
	for _, f := range do {
		f()
	}
}
