package pool

import (
	"maps"
	"slices"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// demanded counts a lease of h. Needs mu.
func (p *Pool) demanded(h *herd, now time.Time) {
	open := 0
	for l := range h.leases {
		if now.Sub(l.began) < p.set.Window {
			open++
		}
	}
	h.demand.lease(now, open)
	p.reconsider(h, now)
}

// reconsider asks the meter of h again. Needs mu.
func (p *Pool) reconsider(h *herd, now time.Time) {
	if wanted := h.demand.want(now, h.start); wanted != h.wanted {
		h.wanted = wanted
		p.planned = false
	}
}

// plan gives every herd its target, if something has changed. Needs mu.
func (p *Pool) plan() {
	if p.planned {
		return
	}
	p.planned = true
	keys := slices.Sorted(maps.Keys(p.current))
	wishes := make([]wish, len(keys))
	for i, key := range keys {
		h := p.current[key]
		bounds := h.def.Pool
		wishes[i] = wish{least: bounds.MinCached, most: max(bounds.MinCached, min(bounds.MaxCached, h.wanted)), memory: h.memory}
	}
	for i, n := range plan(wishes, p.set.Capacity, int64(p.set.MemoryMB)<<20) {
		p.current[keys[i]].target = n
	}
}

// learn keeps averages of what a warm start of h costs. Needs mu.
func (p *Pool) learn(h *herd, took time.Duration, weight int64) {
	if h.start == 0 {
		h.start = took
	}
	h.start += (took - h.start) / 8
	if weight <= 0 {
		return
	}
	before := h.memory
	if !h.weighed { // it was a guess
		h.weighed, h.memory = true, weight
	}
	h.memory += (weight - h.memory) / 4
	if difference := h.memory - before; max(difference, -difference) > before/16 {
		p.planned = false
	}
}

// weigh is how much memory a new instance takes, 0 when the engine does not say.
func weigh(inst engine.Instance, err error) int64 {
	able, ok := inst.(engine.Weigher)
	if err != nil || !ok {
		return 0
	}
	return able.Memory()
}

// guess is how much memory one instance takes, as long as the engine has not
// said: what an interpreter of the language has to itself when it is idle.
func guess(def remuda.Definition) int64 {
	memory := map[remuda.Language]int64{remuda.LanguagePython: 12 << 20, remuda.LanguageNode: 48 << 20, remuda.LanguageBash: 4 << 20}[def.Language]
	if def.Isolation == remuda.IsolationGVisor {
		memory += 32 << 20 // its kernel
	}
	return max(1<<20, min(memory, int64(def.Resources.MemoryMB)<<20))
}
