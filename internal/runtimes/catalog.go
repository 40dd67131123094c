package runtimes

import (
	"sync"

	"github.com/remuda-run/remuda/internal/remuda"
)

// catalog is every runtime, by id and by name, in memory. It is filled from the
// store at the start and changed after every write that was committed.
type catalog struct {
	mu     sync.RWMutex
	byID   map[remuda.RuntimeID]remuda.Runtime
	byName map[ownedName]remuda.RuntimeID
}

type ownedName struct {
	owner remuda.OrganizationID
	name  string
}

func newCatalog() *catalog {
	return &catalog{byID: map[remuda.RuntimeID]remuda.Runtime{}, byName: map[ownedName]remuda.RuntimeID{}}
}

func (c *catalog) put(rt remuda.Runtime) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.byID[rt.ID]; ok {
		delete(c.byName, ownedName{old.Organization, old.Name})
	}
	c.byID[rt.ID] = rt
	c.byName[ownedName{rt.Organization, rt.Name}] = rt.ID
}

func (c *catalog) remove(id remuda.RuntimeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.byID[id]; ok {
		delete(c.byName, ownedName{old.Organization, old.Name})
		delete(c.byID, id)
	}
}

// find looks ref up as an id or a name, first in org, then among the global ones.
func (c *catalog) find(org remuda.OrganizationID, ref string) (remuda.Runtime, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if rt, ok := c.byID[remuda.RuntimeID(ref)]; ok {
		return rt, rt.Organization == org || rt.Organization == remuda.GlobalOrganization
	}
	id, ok := c.byName[ownedName{org, ref}]
	if !ok {
		id, ok = c.byName[ownedName{remuda.GlobalOrganization, ref}]
	}
	return c.byID[id], ok
}

// owned lists the runtimes of an organization.
func (c *catalog) owned(org remuda.OrganizationID) []remuda.RuntimeID {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var list []remuda.RuntimeID
	for id, rt := range c.byID {
		if rt.Organization == org {
			list = append(list, id)
		}
	}
	return list
}
