package survive

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// kill -9 under 50 open runspaces, ten of which run a script: all are there again,
// and each line is there once. Then the same, gently.
func TestFifty(t *testing.T) {
	w := newWorld(t, 50, 10)
	w.Kill()
	w.up("--runspace-on-stop", "keep")
	w.remember()
	w.Down() // SIGTERM, and all is kept
	if n := len(w.Processes()); n < len(w.spaces) {
		t.Errorf("%d processes are there without a server, want those of %d runspaces", n, len(w.spaces))
	}
	w.up()
	w.remember()
	w.finish()
	w.remember()
	w.Down() // SIGTERM, and all is closed
	w.Untouched()
	w.Up(w.args...)
	w.each(func(i int) error {
		if state, why := w.settled(w.spaces[i].id); state != "closed" || why == "" {
			return fmt.Errorf("it is %s (%s), want closed with a reason", state, why)
		}
		return nil
	})
}

// kill -9 again and again: also while the server takes over what the one before has
// left.
func TestKilledAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6, 3)
	w.Kill()
	w.up()
	w.Kill() // as soon as it was ready
	for range 4 {
		life := rand.N(400 * time.Millisecond)
		w.Flicker(life, w.args...)
	}
	w.up()
	w.remember()
	w.Kill()
	w.up()
	w.finish()
	w.remember()
	w.close()
	w.Down()
	w.Untouched()
}

// kill -9 while runspaces are being created: each that was acknowledged is ready in
// the end, or says why it is not; none is stuck and none leaves anything.
func TestKilledDuringCreation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	for round := range 3 {
		var mu sync.Mutex
		acknowledged := map[string]bool{} // and whether a script of theirs comes first
		var clients sync.WaitGroup
		stop := make(chan struct{})
		for n := range 4 {
			clients.Go(func() {
				for range 6 {
					select {
					case <-stop:
						return
					default:
					}
					body := harness.JSON{"runtime": "survivor"}
					if n%2 == 0 {
						body["init_script"] = "import time\ntime.sleep(0.05)\nready = True"
					}
					var rs struct{ ID string }
					if w.Try(http.MethodPost, "/v1/runspaces", body, &rs) == nil {
						mu.Lock()
						acknowledged[rs.ID] = n%2 == 0
						mu.Unlock()
					}
				}
			})
		}
		time.Sleep(rand.N(250 * time.Millisecond)) // a random moment is what is wanted here
		w.Kill()
		close(stop)
		clients.Wait()
		w.up()
		w.remember()
		states := map[string]int{}
		for id, scripted := range acknowledged {
			state, why := w.settled(id)
			states[strings.TrimSpace(state+" "+why)]++
			switch state {
			case "ready":
				if err := w.holds(&space{id: id}, "40 + 2", "42"); err != nil {
					t.Errorf("round %d: %s: %v", round, id, err)
				}
			case "error":
				if why == "" || !scripted {
					t.Errorf("round %d: %s, with a script that comes first: %t, is an error: %q", round, id, scripted, why)
				}
			default:
				t.Errorf("round %d: %s is %s (%s)", round, id, state, why)
			}
			if err := w.Try(http.MethodDelete, "/v1/runspaces/"+id, nil, nil); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		t.Logf("round %d: %d were acknowledged: %v", round, len(acknowledged), states)
	}
	w.finish()
	w.close()
	w.Down()
	w.Untouched()
}
