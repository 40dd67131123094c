package attempts

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine/enginetest"
	"github.com/remuda-run/remuda/test/harness"
)

// noise is what organization A runs, all together and again and again.
func noise() map[string]harness.JSON {
	bombs := enginetest.LimitPrograms()
	return map[string]harness.JSON{
		"fork bomb":    {"script": bombs["forks"].Script},
		"memory bomb":  {"script": bombs["memory"].Script},
		"full disk":    {"script": bombs["one file"].Script},
		"spinning":     {"script": bombs["loop in C"].Script, "timeout_s": 3},
		"output flood": {"script": "while True: print('x' * 1000)", "timeout_s": 10},
	}
}

// noisyNeighbor measures what B gets while A is quiet and while A is not. The
// figures are a matter of the full form: other tests make noise too.
func noisyNeighbor(c *cell) {
	runtime := "noisy-b-" + c.place.class
	definition := harness.JSON{"name": runtime, "language": "python", "resources": sizes[roomy], "pool": harness.JSON{"min_cached": 4, "max_cached": 8}}
	loud := harness.JSON{"name": "noisy-a-" + c.place.class, "language": "python", "resources": sizes[small], "pool": harness.JSON{"min_cached": 0, "max_cached": 0}}
	if c.place.class != process {
		definition["isolation"], loud["isolation"] = c.place.class, c.place.class
	}
	var made struct{ ID string }
	c.house.b.must(c.T, http.MethodPost, "/v1/runtimes", definition, &made)
	c.house.a.must(c.T, http.MethodPost, "/v1/runtimes", loud, nil)
	eventually(c, "B's pool is full", func() bool { return c.house.idle(c, made.ID) >= 4 })

	n := count(200, 25)
	c.measure(runtime, n/5) // what is new on the way is paid for before
	quiet := c.measure(runtime, n)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	ended := map[string]int{}
	for name, request := range noise() {
		request["runtime"] = loud["name"]
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ex := new(execution)
				// What A is refused (for want of slots, say) is no matter of B's.
				if c.house.a.get(c.T, http.MethodPost, "/v1/executions?wait=30s", request, ex) == nil {
					mu.Lock()
					ended[fmt.Sprintf("%s: %s %s", name, ex.State, ex.KilledBy)]++
					mu.Unlock()
				}
			}
		})
	}
	eventually(c, "every kind of noise is made", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(ended) >= len(noise())
	})
	noisy := c.measure(runtime, n)
	close(stop)
	wg.Wait()
	if c.Failed() {
		c.escape("B saw errors")
		return
	}
	ratio := noisy.p99 / quiet.p99
	figures := fmt.Sprintf("B without error; p50 %.1f ms quiet, %.1f noisy; p99 %.1f ms quiet, %.1f noisy: %.1fx", quiet.p50, noisy.p50, quiet.p99, noisy.p99, ratio)
	fmt.Printf("noisy neighbour, %s: %s (%d of %d warm when quiet, %d when noisy)\n", c.place.class, figures, quiet.warm, n, noisy.warm)
	c.Logf("what A had of it: %v", ended)
	switch {
	case !*full:
		c.saw("B without error (figures are judged in the full form)")
	case ratio > 2:
		c.weak("%s, above the goal of 2x", figures)
	default:
		c.saw("%s", figures)
	}
}

// figures of a series of executions, in milliseconds.
type figures struct {
	p50, p99 float64
	warm     int
}

// measure runs one-shot executions of B one after another, at a pace that lets a
// pool follow.
func (c *cell) measure(runtime string, n int) figures {
	c.Helper()
	var f figures
	took := make([]float64, 0, n)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range n {
		<-tick.C
		begin := time.Now()
		ex := new(execution)
		err := c.house.b.get(c.T, http.MethodPost, "/v1/executions?wait=60s", harness.JSON{"runtime": runtime, "script": "1 + 1"}, ex)
		took = append(took, since(begin))
		if err != nil || ex.State != "success" {
			c.Errorf("B: %v %s", err, &ex.Execution)
			continue
		}
		if ex.wasWarm() {
			f.warm++
		}
	}
	slices.Sort(took)
	f.p50, f.p99 = took[len(took)/2], took[min(len(took)-1, len(took)*99/100)]
	return f
}
