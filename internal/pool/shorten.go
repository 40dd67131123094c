package pool

import (
	"context"
	"sync"

	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Shorten takes from every instance of a runtime that is held what its list has
// no more, and returns when that is in force: what runs on an older generation
// goes on with what the old and the new list have in common. It gives nobody
// more than they have. What cannot be confined is destroyed.
func (p *Pool) Shorten(runtime remuda.RuntimeID, to remuda.Egress) {
	p.mu.Lock()
	var held []*Lease
	for key, h := range p.all {
		if key.Runtime != runtime || egress.Narrows(h.def.Egress, to) {
			continue
		}
		for l := range h.leases {
			cut := to
			if l.cut != nil {
				cut = egress.Intersect(*l.cut, to)
			}
			l.cut = &cut
			held = append(held, l)
		}
	}
	p.mu.Unlock()
	confineAll(held)
}

// confiners bounds the instances that are confined at the same time.
const confiners = 8

func confineAll(held []*Lease) {
	var wg sync.WaitGroup
	next := make(chan *Lease)
	for range min(confiners, len(held)) {
		wg.Go(func() {
			for l := range next {
				l.confine(context.Background())
			}
		})
	}
	for _, l := range held {
		next <- l
	}
	close(next)
	wg.Wait()
}
