package executions

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Run returns when nothing of the service is under way any more: nothing that goes on
// after an execution's end, no record whose time has come, no goroutine without work.
func TestRunLeavesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(nil, nil, nil, nil, slog.New(slog.DiscardHandler), nil, Settings{})
		ctx, stop := context.WithCancel(t.Context())
		var over atomic.Bool
		go func() {
			if err := s.Run(ctx); err != nil {
				t.Error(err)
			}
			over.Store(true)
		}()
		synctest.Wait()
		after, record := make(chan struct{}), make(chan struct{})
		s.runs.Add(1)
		s.hands.do(func() { // as an execution that was answered and cleans up
			defer s.runs.Done()
			<-after
		})
		s.soon.add(func() { <-record })
		s.later.add(func() { t.Error("what was not due was recorded while nobody could be there") })
		time.Sleep(s.set.RecordAfter + time.Millisecond) // later than what is due, whichever timer is first
		stop()
		for what, goOn := range map[string]chan struct{}{"cleans up": after, "is recorded": record} {
			synctest.Wait()
			if over.Load() {
				t.Fatalf("Run had ended before what %s", what)
			}
			close(goOn)
		}
		synctest.Wait()
		if !over.Load() {
			t.Error("Run goes on although nothing is left")
		}
		if err := s.admit(&run{id: "ex_late"}, &s.runs, &s.draining); remuda.CodeOf(err) != remuda.CodeUnavailable {
			t.Errorf("admitted after the end: %v", err)
		}
		time.Sleep(time.Hour) // whatever has a timer
	})
}

// An execution that would not end is not waited for by Run either.
func TestRunEndsWithoutWhatWillNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(nil, nil, nil, nil, slog.New(slog.DiscardHandler), nil, Settings{})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = s.Run(ctx)
		}()
		synctest.Wait()
		goOn := make(chan struct{})
		if err := s.admit(&run{id: "ex_stuck", done: make(chan struct{})}, &s.runs, &s.draining); err != nil {
			t.Fatal(err)
		}
		s.hands.do(func() {
			defer s.runs.Done()
			<-goOn
		})
		stop()
		synctest.Wait()
		select {
		case <-ended:
		default:
			t.Error("Run waits for it")
		}
		close(goOn)
	})
}
