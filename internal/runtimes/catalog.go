package runtimes

import (
	"sync"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// record is a runtime as it is now. It does not change: every change makes
// another one, so that whoever has it needs no lock.
type record struct {
	remuda.Runtime

	// serves is the runtime with the definition that its instances are made from.
	// It is the same as the other one's while no build goes on or has failed.
	serves remuda.Runtime
	// built is the build of the serving generation, and layers what it installed.
	built    remuda.Build
	layers   []engine.Layer
	deleting bool          // nothing new begins on it
	changed  chan struct{} // closed when another record takes its place
}

// catalog is every runtime, by id and by name, in memory. It is filled from the
// store at the start and changed after every write that was committed.
type catalog struct {
	mu     sync.RWMutex
	byID   map[remuda.RuntimeID]*record
	byName map[ownedName]*record
}

type ownedName struct {
	owner remuda.OrganizationID
	name  string
}

func newCatalog() *catalog {
	return &catalog{byID: map[remuda.RuntimeID]*record{}, byName: map[ownedName]*record{}}
}

func (c *catalog) put(rec *record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rec.changed = make(chan struct{})
	c.drop(rec.ID)
	c.byID[rec.ID] = rec
	c.byName[ownedName{rec.Organization, rec.Name}] = rec
}

func (c *catalog) remove(id remuda.RuntimeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(id)
}

// drop forgets a record. Needs mu.
func (c *catalog) drop(id remuda.RuntimeID) {
	if old := c.byID[id]; old != nil {
		delete(c.byName, ownedName{old.Organization, old.Name})
		delete(c.byID, id)
		close(old.changed)
	}
}

// get returns a runtime by its id, nil when there is none.
func (c *catalog) get(id remuda.RuntimeID) *record {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byID[id]
}

// find looks ref up as an id or a name, first in org, then among the global ones.
// nil is none that org may know of.
func (c *catalog) find(org remuda.OrganizationID, ref string) *record {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if rec := c.byID[remuda.RuntimeID(ref)]; rec != nil {
		if rec.Organization == org || rec.Organization == remuda.GlobalOrganization {
			return rec
		}
		return nil
	}
	if rec := c.byName[ownedName{org, ref}]; rec != nil {
		return rec
	}
	return c.byName[ownedName{remuda.GlobalOrganization, ref}]
}

// all lists every record.
func (c *catalog) all() []*record {
	c.mu.RLock()
	defer c.mu.RUnlock()
	list := make([]*record, 0, len(c.byID))
	for _, rec := range c.byID {
		list = append(list, rec)
	}
	return list
}
