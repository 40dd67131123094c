package cgroup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// residue is how much memory may still be charged to a group that nobody is in: what
// the kernel lets go of a moment after the end of the last process, and what it has
// charged ahead for each processor.
const residue = 1 << 20

// spareTime is how long a spare group waits for its next holder.
const spareTime = 2 * time.Second

// Spares are groups of sandboxes that have ended and wait for others of the same kind:
// to make a group in four trees and to have it removed from them takes longer than
// most of what a short life does. With version 2, where there is one tree and the
// counters of a group cannot be set back, there are none.
//
// A group comes back only when it is empty, has no counter that the kernel does not
// set back, and has the limits that it was first given. Its counters and its weight are
// set back before it is handed out again. What its earlier holder has of it is a Group
// that no longer reaches it.
type Spares struct {
	herd *Herd
	size int

	mu     sync.Mutex
	idle   []*Group // the one unused for longest first
	sweep  *time.Timer
	closed bool
	gone   sync.WaitGroup // what is being swept
	fail   func(error)    // is told what could not be removed
}

// NewSpares makes the spares of one kind of sandbox, size of them at most. fail is
// told of one that nobody needed and that could not be removed.
func (h *Herd) NewSpares(size int, fail func(error)) *Spares {
	if h.Version() != 1 {
		size = 0
	}
	return &Spares{herd: h, size: size, fail: fail}
}

// Take returns a group without processes: a spare one, or one that is made and has the
// given name. A spare one keeps its name and, until it is limited, its limits.
func (s *Spares) Take(name string) (*Group, error) {
	for g := s.next(); g != nil; g = s.next() {
		err := g.renew()
		if err == nil {
			return g, nil
		}
		if !errors.Is(err, errUsed) {
			s.fail(err)
		}
		s.drop(g)
	}
	return s.herd.Create(name)
}

func (s *Spares) next() *Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle) == 0 {
		return nil
	}
	g := s.idle[0]
	s.idle = s.idle[1:]
	return g
}

// Put takes back a group whose holder has ended, or clears it. The Group is of no use
// any more.
func (s *Spares) Put(ctx context.Context, g *Group) error {
	if s.room() {
		if next := g.pass(); next != nil {
			if s.keep(next) {
				return nil
			}
			g = next
		}
	}
	return g.Clear(ctx)
}

func (s *Spares) room() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closed && len(s.idle) < s.size
}

func (s *Spares) keep(g *Group) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.idle) >= s.size {
		return false
	}
	g.since = time.Now()
	s.idle = append(s.idle, g)
	if s.sweep == nil {
		s.sweep = time.AfterFunc(spareTime, s.sweepOld)
	}
	return true
}

// sweepOld removes what nobody has needed for long.
func (s *Spares) sweepOld() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep = nil
	for len(s.idle) > 0 && time.Since(s.idle[0].since) >= spareTime {
		g := s.idle[0]
		s.idle = s.idle[1:]
		s.gone.Go(func() { s.drop(g) })
	}
	if len(s.idle) > 0 && !s.closed {
		s.sweep = time.AfterFunc(spareTime-time.Since(s.idle[0].since), s.sweepOld)
	}
}

// drop removes a group that is not to be used again.
func (s *Spares) drop(g *Group) {
	ctx, cancel := context.WithTimeout(context.Background(), removeTime)
	defer cancel()
	if err := g.Clear(ctx); err != nil {
		s.fail(err)
	}
}

// removeTime bounds the removal of a spare group, in which nothing runs.
const removeTime = 10 * time.Second

// Close removes all spares, and keeps none from here on.
func (s *Spares) Close() {
	s.mu.Lock()
	s.closed = true
	idle := s.idle
	s.idle = nil
	if s.sweep != nil {
		s.sweep.Stop()
	}
	s.mu.Unlock()
	for _, g := range idle {
		s.drop(g)
	}
	s.gone.Wait()
}

// errUsed says that a group is not as good as a new one.
var errUsed = errors.New("the group is not as it was when it was made")

// pass takes the group from its holder: g reaches it no more, and what is returned
// does. Nil, and nothing has changed, if it could not be another's.
func (g *Group) pass() *Group {
	g.holding.Lock() // nobody uses it now
	defer g.holding.Unlock()
	if g.gone || g.changed || g.limits == nil {
		return nil
	}
	usage, err := g.read()
	if err != nil || usage.OOMKills > 0 || usage.PidsMax > 0 || !g.deserted() {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	next := &Group{backend: g.backend, path: g.path, name: g.name, dirFD: -1, usage: g.usage, limits: g.limits}
	g.gone, g.usage = true, nil
	return next
}

// deserted reports whether nothing is in the group, no process and no other group.
func (g *Group) deserted() bool {
	pids, err := g.pids()
	if err != nil || len(pids) > 0 {
		return false
	}
	for _, dir := range g.backend.dirs(g.path) {
		var st unix.Stat_t
		if unix.Stat(dir, &st) != nil || st.Nlink != 2 {
			return false
		}
	}
	return true
}

// renew sets back what the last holder has left in the group's counters.
func (g *Group) renew() error {
	if err := g.backend.reset(g.path); err != nil {
		return fmt.Errorf("set back cgroup %s: %w", g.path, err)
	}
	usage, err := g.read()
	if err != nil {
		return err
	}
	if usage.CPU > 0 || usage.PeakMemory > residue || usage.OOMKills > 0 || usage.PidsMax > 0 {
		return errUsed
	}
	return setWeight(g.backend, g.path, g.backend.files().weight.normal)
}
