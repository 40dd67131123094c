package bench

import (
	"context"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// sample is what one execution of a load came to.
type sample struct {
	ex   execution
	took time.Duration
	err  error
}

// openLoop starts n runs of do at a fixed rate, whether or not those before have
// ended, and gives each the moment at which it was due: what has to wait for the
// generator or the server is counted as waiting.
func openLoop(ctx context.Context, rate, n int, do func(due time.Time) sample) []sample {
	samples := make([]sample, n)
	var wg sync.WaitGroup
	start := time.Now().Add(10 * time.Millisecond)
	generator := make(chan struct{})
	go func() {
		defer close(generator)
		// Timers of Go are up to a millisecond late, because the poller that they
		// wait in counts milliseconds; this thread sleeps by itself.
		runtime.LockOSThread()
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		for i := range n {
			due := start.Add(time.Duration(i) * time.Second / time.Duration(rate))
			sleepUntil(due)
			if ctx.Err() != nil {
				return
			}
			wg.Go(func() { samples[i] = do(due) })
		}
	}()
	<-generator
	wg.Wait()
	return samples
}

func sleepUntil(due time.Time) {
	for left := time.Until(due); left > 0; left = time.Until(due) {
		t := unix.NsecToTimespec(left.Nanoseconds())
		_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &t, nil)
	}
}

// closedLoop keeps clients busy for a while and returns how many runs a second
// ended in it. do gets the number of its client.
func closedLoop(ctx context.Context, clients int, while time.Duration, do func(client int) error) (perSecond float64, errs []error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	done := 0
	start := time.Now()
	end := start.Add(while)
	for client := range clients {
		wg.Go(func() {
			for time.Now().Before(end) && ctx.Err() == nil {
				err := do(client)
				inTime := !time.Now().After(end)
				mu.Lock()
				switch {
				case err != nil:
					errs = append(errs, err)
				case inTime:
					done++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return float64(done) / while.Seconds(), errs
}

// inParallel runs do for 0..n-1 with that many clients and returns the time
// that all took together.
func inParallel(ctx context.Context, clients, n int, do func(i int) error) (time.Duration, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var first error
	next := 0
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= n && first == nil && ctx.Err() == nil
	}
	start := time.Now()
	for range clients {
		wg.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				if err := do(i); err != nil {
					mu.Lock()
					first = err
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start), first
}
