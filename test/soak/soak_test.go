package soak

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

const (
	shortCount = 500
	clients    = 16
	spaces     = 20
	warm       = 8 // instances that the pool keeps
)

func TestNothingStays(t *testing.T) {
	count, alone := shortCount, false
	if text := os.Getenv("SOAK_COUNT"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("SOAK_COUNT is %q, want a number of executions", text)
		}
		count, alone = n, true
	}
	machineBefore := machineCensus(t)
	s := harness.Start(t, "--slots", "96")
	h := newHerd(t, s, alone)
	h.open()
	// What is made once and kept (connections, templates, caches) is there
	// before the first census.
	h.run(max(100, count/50))
	h.quiet()
	before := h.census()

	start := time.Now()
	h.run(count)
	took := time.Since(start)
	h.quiet()
	after := h.settled(before)
	t.Logf("%d one-shot executions in %v (%.0f a second), %d in %d runspaces beside them",
		count, took.Round(time.Second), float64(count)/took.Seconds(), h.inSpaces.Load(), spaces)
	judge(t, fmt.Sprintf("with the server up and %d runspaces open, before and after %d executions", spaces, count), before, after)
	h.databaseGrowth(count)
	h.checkSpaces()

	s.Down()
	h.nothingLeft()
	judge(t, "before the server was started and after it ended", machineBefore, eventual(machineBefore, func() census { return machineCensus(t) }, alone))
}

// herd drives one server.
type herd struct {
	t     *testing.T
	s     *harness.Server
	alone bool

	spaces   []*space
	inSpaces atomic.Int64
	used     sync.Map // instances of one-shots
	database int64    // bytes when the count began
}

// space is a runspace that counts its own executions.
type space struct {
	mu sync.Mutex
	id string
	n  int
}

func newHerd(t *testing.T, s *harness.Server, alone bool) *herd {
	return &herd{t: t, s: s, alone: alone}
}

func (h *herd) open() {
	pool := func(n int) harness.JSON { return harness.JSON{"min_cached": n, "max_cached": n} }
	h.s.Runtime(harness.JSON{"name": "soak", "language": "python", "pool": pool(warm)})
	h.s.Runtime(harness.JSON{"name": "soak-space", "language": "python", "pool": pool(0)})
	for range spaces {
		sp := &space{id: h.s.Runspace("soak-space")}
		if ex := h.s.RunIn(sp.id, harness.JSON{"script": "n = 0"}); ex.State != "success" {
			h.t.Fatalf("a runspace cannot be used: %s", ex)
		}
		h.spaces = append(h.spaces, sp)
	}
}

// run makes count one-shot executions, and now and then one in a runspace.
func (h *herd) run(count int) {
	var next atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, clients)
	for range clients {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(count); i = next.Add(1) {
				err := h.oneShot(i)
				if err == nil && i%50 == 0 {
					err = h.inSpace(h.spaces[rand.IntN(len(h.spaces))])
				}
				if err != nil {
					failed <- fmt.Errorf("execution %d: %w", i, err)
					next.Store(int64(count)) // the others end too
					return
				}
				if h.alone && i%5000 == 0 {
					h.t.Logf("%s: %d of %d", time.Now().Format(time.TimeOnly), i, count)
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	if err := <-failed; err != nil {
		h.t.Fatal(err)
	}
}

func (h *herd) oneShot(i int64) error {
	var ex harness.Execution
	// Each tenth leaves what the sandbox's end has to take away.
	script := fmt.Sprintf("print(%d)", i)
	if i%10 == 0 {
		script += "\nimport subprocess; open('left', 'w').write('x' * 100000); subprocess.Popen(['sleep', '600'], start_new_session=True)"
	}
	if err := h.s.Try(http.MethodPost, "/v1/executions?wait=60s", harness.JSON{"runtime": "soak", "script": script}, &ex); err != nil {
		return err
	}
	switch {
	case ex.State != "success":
		return fmt.Errorf("it ended as %s", &ex)
	case !ex.Fresh:
		return errors.New("its instance was used before")
	}
	if other, twice := h.used.LoadOrStore(ex.Instance, ex.ID); twice {
		return fmt.Errorf("instance %s was handed out to %v too", ex.Instance, other)
	}
	return nil
}

func (h *herd) inSpace(sp *space) error {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	var ex harness.Execution
	if err := h.s.Try(http.MethodPost, "/v1/runspaces/"+sp.id+"/executions?wait=60s", harness.JSON{"script": "n += 1; n"}, &ex); err != nil {
		return err
	}
	sp.n++
	h.inSpaces.Add(1)
	if ex.State != "success" || ex.Value == nil || ex.Value.Text != strconv.Itoa(sp.n) {
		return fmt.Errorf("runspace %s lost its state: %s", sp.id, &ex)
	}
	return nil
}

// checkSpaces proves that the runspaces lived through it.
func (h *herd) checkSpaces() {
	for _, sp := range h.spaces {
		if err := h.inSpace(sp); err != nil {
			h.t.Error(err)
		}
	}
}

// quiet waits until the pool is full again and nothing is being made or removed.
func (h *herd) quiet() {
	h.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		var text []byte
		h.s.Call(http.MethodGet, "/metrics", nil, &text)
		ready, inUse := metric(string(text), "remuda_instances", `state="ready"`), metric(string(text), "remuda_slots_in_use", "")
		if ready == warm && inUse == warm+spaces {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("two minutes after the last execution %d instances are ready and %d slots are in use, want %d and %d", ready, inUse, warm, warm+spaces)
		}
	}
}

// metric adds up the samples of a name whose labels hold a text.
func metric(page, name, label string) int {
	sum := 0.0
	for line := range strings.Lines(page) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || (rest[0] != '{' && rest[0] != ' ') || !strings.Contains(rest, label) {
			continue
		}
		if n, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' ')+1:]), 64); err == nil {
			sum += n
		}
	}
	return int(sum)
}
