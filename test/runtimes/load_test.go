package runtimes

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

var (
	rate = flag.Int("rate", 200, "executions begun in a second")
	span = flag.Duration("span", 10*time.Second, "how long")
)

// inFlight bounds what waits for an answer: a machine that cannot keep up begins
// fewer, and loses none for want of slots.
const inFlight = 128

// TestChangeUnderLoad changes a runtime again and again while executions are sent
// to it at a steady rate. Every one is answered with a success, and none that began
// after a change was acknowledged ran on an older generation: each prints the
// variable of its generation, too.
func TestChangeUnderLoad(t *testing.T) {
	s := harness.Start(t, "--slots", "256")
	define := func(n int64) harness.JSON {
		return harness.JSON{"env": harness.JSON{"GENERATION": fmt.Sprint(n)}, "resources": harness.JSON{"memory_mb": 64 + n%7}, "pool": harness.JSON{"min_cached": 8, "max_cached": 64 + n%2}}
	}
	first := define(1)
	first["name"], first["language"] = "load", "python"
	s.Runtime(first)

	var acknowledged, begun, ended, stale atomic.Int64
	acknowledged.Store(1)
	var running sync.WaitGroup
	free := make(chan struct{}, inFlight)
	one := func() {
		defer func() { <-free }()
		least := acknowledged.Load()
		var ex struct {
			State      string
			Reason     *string
			Generation int64
			Value      *struct{ JSON string }
		}
		begun.Add(1)
		err := s.Try(http.MethodPost, "/v1/executions?wait=120s", harness.JSON{"runtime": "load", "script": "import os\nos.environ['GENERATION']"}, &ex)
		if err != nil || ex.State != "success" || ex.Value == nil {
			t.Errorf("an execution is lost: %+v, %v", ex, err)
			return
		}
		ended.Add(1)
		if ex.Generation < least || ex.Value.JSON != fmt.Sprint(ex.Generation) {
			stale.Add(1)
			t.Errorf("ran on generation %d (its variable says %s) after %d was acknowledged", ex.Generation, ex.Value.JSON, least)
		}
	}
	stop := make(chan struct{})
	var changes sync.WaitGroup
	changes.Go(func() {
		for n := int64(2); ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(*span / 8):
			}
			var rt struct {
				ServingGeneration int64 `json:"serving_generation"`
				Status            string
			}
			if err := s.Try(http.MethodPatch, "/v1/runtimes/load", define(n), &rt); err != nil || rt.ServingGeneration != n || rt.Status != "ready" {
				t.Errorf("change %d: %+v, %v", n, rt, err)
			}
			acknowledged.Store(n)
		}
	})
	tick := time.NewTicker(time.Second / time.Duration(*rate))
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < *span; <-tick.C {
		free <- struct{}{}
		running.Go(one)
	}
	close(stop)
	changes.Wait()
	running.Wait()
	t.Logf("%d executions in %s over %d generations: %d lost, %d on an old generation", begun.Load(), *span, acknowledged.Load(), begun.Load()-ended.Load(), stale.Load())
	if acknowledged.Load() < 5 || ended.Load() < 100 {
		t.Error("too little was tried to say anything")
	}
	var p harness.Problem
	if err := s.Try(http.MethodDelete, "/v1/runtimes/load?refuse_if_busy=true", nil, nil); err != nil && !errors.As(err, &p) {
		t.Error(err)
	}
}
