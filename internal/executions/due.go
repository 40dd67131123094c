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
	timer   *time.Timer // nil until there is a first thing
	armed   bool        // the timer runs
	over    bool
	busy    sync.WaitGroup // one while the timer runs, one for each sweep
}

// dueThing is one of them.
type dueThing struct {
	list *dueList
	at   time.Time
	do   func() // nil once it was taken back; guarded by list.mu
}

// add has do called once, on another goroutine, unless it is taken back or the list
// ends before.
func (l *dueList) add(do func()) *dueThing {
	t := &dueThing{list: l, at: time.Now().Add(l.after), do: do}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return t
	}
	l.waiting = append(l.waiting, t)
	if !l.armed {
		l.arm(l.after)
	}
	return t
}

// arm has the list swept after some time. It holds mu.
func (l *dueList) arm(after time.Duration) {
	l.armed = true
	l.busy.Add(1)
	if l.timer == nil {
		l.timer = time.AfterFunc(after, l.sweep)
		return
	}
	l.timer.Reset(after)
}

// end has nothing more done, and returns when nothing is under way.
func (l *dueList) end() {
	l.mu.Lock()
	l.over, l.waiting = true, nil
	if l.armed && l.timer.Stop() {
		l.busy.Done()
	}
	l.armed = false
	l.mu.Unlock()
	l.busy.Wait()
}

// takeBack is for what need not be done any more. It may be under way.
func (t *dueThing) takeBack() {
	t.list.mu.Lock()
	defer t.list.mu.Unlock()
	t.do = nil
}

// sweep does what is due, and comes again for what is left.
func (l *dueList) sweep() {
	defer l.busy.Done()
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
		l.arm(l.waiting[0].at.Sub(now))
	} else {
		l.waiting, l.armed = nil, false
	}
	l.mu.Unlock()
	for _, f := range do {
		f()
	}
}
