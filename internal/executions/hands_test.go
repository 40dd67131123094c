package executions

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// Hands end with their context, the busy ones after what they run, and are waited for.
func TestHandsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := make(hands)
		ctx, cancel := context.WithCancel(t.Context())
		wait := h.lend(ctx)
		synctest.Wait()
		goOn := make(chan struct{})
		var begun, done atomic.Int64
		const more = residentHands + 2 // than there are
		for range more {
			h.do(func() {
				begun.Add(1)
				<-goOn
				done.Add(1)
			})
			synctest.Wait()
		}
		if n := begun.Load(); n != more {
			t.Fatalf("%d of %d run", n, more)
		}
		cancel()
		var waited atomic.Bool
		go func() {
			wait()
			waited.Store(true)
		}()
		synctest.Wait()
		if waited.Load() {
			t.Error("hands that are busy were not waited for")
		}
		close(goOn)
		synctest.Wait()
		if n := done.Load(); n != more || !waited.Load() {
			t.Errorf("%d of %d have ended, waited for: %t", n, more, waited.Load())
		}
		h.do(func() { done.Add(1) })
		synctest.Wait()
		if n := done.Load(); n != more+1 {
			t.Error("what comes when there are no hands any more was not run")
		}
	})
}
