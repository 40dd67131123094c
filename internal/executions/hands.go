package executions

import (
	"context"
	"sync"
)

// residentHands is how many goroutines wait to run executions. What is more runs on
// goroutines of its own.
const residentHands = 4

// hands are goroutines that are there already: their stacks have the size that a
// script's end needs in the store, to which new ones would have to grow, copy by copy,
// while somebody waits for the answer.
type hands chan func()

// do runs f on one of them if one is free, else on a goroutine of its own. Whoever
// calls it waits for f.
func (h hands) do(f func()) {
	select {
	case h <- f:
	default:
		go f()
	}
}

// lend keeps them until ctx ends. One that is busy then ends with what it runs. wait
// returns when all have ended.
func (h hands) lend(ctx context.Context) (wait func()) {
	var lent sync.WaitGroup
	for range residentHands {
		lent.Go(func() {
			for {
				select {
				case f := <-h:
					f()
				case <-ctx.Done():
					return
				}
			}
		})
	}
	return lent.Wait
}
