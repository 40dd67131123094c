package attempts

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// size is a set of limits; few sets mean few runtimes.
type size string

var sizes = map[size]harness.JSON{
	roomy: {"cpu": 1, "memory_mb": 256, "disk_mb": 64, "pids": 64},
	small: {"cpu": 1, "memory_mb": 64, "disk_mb": 16, "pids": 32},
	image: {"cpu": 1, "memory_mb": 160, "disk_mb": 100, "pids": 32},
	half:  {"cpu": 0.5, "memory_mb": 256, "disk_mb": 64, "pids": 96},
}

const (
	roomy size = "roomy"
	small size = "small"
	image size = "image" // its disk is an image, not memory
	half  size = "half"  // half a processor
)

// runtime returns the name of a runtime of tenant a, made when first asked for.
func (h *house) runtime(t testing.TB, a *tenant, class, kind, language string, s size) string {
	t.Helper()
	name := strings.Join([]string{class, kind, language, string(s)}, "-")
	h.mu.Lock()
	defer h.mu.Unlock()
	key := a.name + "/" + name
	if h.runtimes[key] != "" {
		return name
	}
	pool := harness.JSON{"min_cached": 0, "max_cached": 0}
	if kind == warm {
		pool = harness.JSON{"min_cached": 1, "max_cached": 4}
	}
	definition := harness.JSON{"name": name, "language": language, "resources": sizes[s], "exec_timeout_s": 300, "pool": pool}
	if class != process {
		definition["isolation"] = class
	}
	var made struct{ ID string }
	a.must(t, http.MethodPost, "/v1/runtimes", definition, &made)
	h.runtimes[key] = made.ID
	return name
}

// runtimeID is the id of the runtime in which the box runs.
func (b *box) runtimeID() string {
	b.house.mu.Lock()
	defer b.house.mu.Unlock()
	return b.house.runtimes[b.by.name+"/"+b.runtime]
}

// idle is how many warm instances of a runtime wait.
func (h *house) idle(t testing.TB, runtimeID string) int {
	t.Helper()
	text := string(h.admin.must(t, http.MethodGet, "/metrics", nil, nil).Body)
	total := 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "remuda_instances{") || !strings.Contains(line, `state="ready"`) || !strings.Contains(line, runtimeID) {
			continue
		}
		var n float64
		if _, err := fmt.Sscan(line[strings.LastIndex(line, "}")+1:], &n); err != nil {
			t.Fatalf("metric %q: %v", line, err)
		}
		total += int(n)
	}
	return total
}

// box is where a cell's scripts run: a fresh instance for each, or one runspace.
type box struct {
	*cell
	by       *tenant
	runtime  string
	runspace string
}

// open prepares the cell's place.
func (c *cell) open(language string, s size) *box {
	c.Helper()
	return c.openAs(c.house.a, language, s)
}

func (c *cell) openAs(by *tenant, language string, s size) *box {
	c.Helper()
	kind := c.place.kind
	if kind == runspace {
		kind = cold // what a runspace gets its instance from
	}
	b := &box{cell: c, by: by, runtime: c.house.runtime(c.T, by, c.place.class, kind, language, s)}
	if c.place.kind == runspace {
		b.runspace = openRunspace(c.T, by, b.runtime)
	}
	return b
}

// openRunspace opens a runspace that is closed with the test.
func openRunspace(t testing.TB, by *tenant, runtime string) string {
	t.Helper()
	var rs struct{ ID, State, Error string }
	by.must(t, http.MethodPost, "/v1/runspaces?wait=120s", harness.JSON{"runtime": runtime}, &rs)
	if rs.State != "ready" {
		t.Fatalf("the runspace is %s: %s", rs.State, rs.Error)
	}
	t.Cleanup(func() { closeRunspace(by, rs.ID) })
	return rs.ID
}

// closeRunspace needs no test's context, which has ended by then.
func closeRunspace(by *tenant, id string) {
	req, err := http.NewRequest(http.MethodDelete, by.base()+"/v1/runspaces/"+id, nil)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+by.token)
	if resp, err := by.http.Do(req); err == nil {
		_ = resp.Body.Close() // it may have been closed before
	}
}

// outcome is an execution that has ended, with its output.
type outcome struct {
	t testing.TB
	execution
	stdout, stderr string
}

type execution struct {
	harness.Execution
	Warm           *bool  `json:"warm"`
	ColdReason     string `json:"cold_reason"`
	OutputBytes    int64  `json:"output_bytes"`
	OutputCutBytes int64  `json:"output_cut_bytes"`
}

// wasWarm reports whether the instance had been started before it was asked for.
func (e *execution) wasWarm() bool {
	if e.Warm != nil {
		return *e.Warm
	}
	_, started := e.TimingsUS["create"]
	return !started
}

// run runs one script in the cell's place. On a warm place it insists that the
// instance was warm.
func (b *box) run(request harness.JSON) *outcome {
	b.Helper()
	request = maps.Clone(request)
	if b.runspace != "" {
		return finish(b.T, b.by, "/v1/runspaces/"+b.runspace+"/executions", request)
	}
	request["runtime"] = b.runtime
	if b.place.kind != warm {
		return finish(b.T, b.by, "/v1/executions", request)
	}
	id := b.runtimeID()
	if b.place.class == gvisor {
		// One at a time: rows that run at once would take each other's instances, which start slowly.
		turn, _ := b.house.memo.LoadOrStore("turn of "+b.by.name+b.runtime, new(sync.Mutex))
		turn.(*sync.Mutex).Lock()
		defer turn.(*sync.Mutex).Unlock()
	}
	// Rows that claim without a turn may take what was idle a moment ago.
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		eventually(b, "an instance of "+b.runtime+" is warm", func() bool { return b.house.idle(b, id) > 0 })
		if o := finish(b.T, b.by, "/v1/executions", request); o.wasWarm() {
			return o
		}
	}
	b.Fatalf("for two minutes every execution of %s found its warm instance taken", b.runtime)
	return nil
}

// script is run of a script and no more.
func (b *box) script(script string) *outcome {
	b.Helper()
	return b.run(harness.JSON{"script": script})
}

// finish runs one script and waits for its end and output.
func finish(t testing.TB, by *tenant, path string, request harness.JSON) *outcome {
	t.Helper()
	o, err := tryFinish(t, by, path, request)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// tryFinish is finish for several goroutines.
func tryFinish(t testing.TB, by *tenant, path string, request harness.JSON) (*outcome, error) {
	t.Helper()
	ex := new(execution)
	if err := by.get(t, http.MethodPost, path+"?wait=60s", request, ex); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(10 * time.Minute); !ex.Ended(); {
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("execution %s is still %s after ten minutes", ex.ID, ex.State)
		}
		id := ex.ID
		ex = new(execution)
		if err := by.get(t, http.MethodGet, "/v1/executions/"+id+"?wait=60s", nil, ex); err != nil {
			return nil, err
		}
	}
	o := &outcome{t: t, execution: *ex}
	return o, o.read(by)
}

// get makes a request that has to succeed and decodes the answer.
func (a *tenant) get(t testing.TB, method, path string, in, out any) error {
	t.Helper()
	got, err := a.try(t, method, path, in)
	if err != nil {
		return err
	}
	if got.Status >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s answered %d: %.1000s", method, path, got.Status, got.Body)
	}
	return json.Unmarshal(got.Body, out)
}

// read reads all output, record by record.
func (o *outcome) read(by *tenant) error {
	var after int64
	for {
		var page struct {
			Records []struct {
				Seq          int64
				Stream, Data string
				Base64       string `json:"data_base64"`
			}
			Next  int64
			Ended bool
		}
		if err := by.get(o.t, http.MethodGet, fmt.Sprintf("/v1/executions/%s/output?after=%d&limit=4194304", o.ID, after), nil, &page); err != nil {
			return err
		}
		for _, r := range page.Records {
			if r.Seq != after+1 {
				return fmt.Errorf("output record %d follows %d", r.Seq, after)
			}
			after = r.Seq
			data := r.Data
			if r.Base64 != "" {
				raw, err := base64.StdEncoding.DecodeString(r.Base64)
				if err != nil {
					return err
				}
				data = string(raw)
			}
			if r.Stream == "stdout" {
				o.stdout += data
			} else {
				o.stderr += data
			}
		}
		if page.Ended {
			return nil
		}
		if len(page.Records) == 0 {
			return errors.New("the output of an execution that has ended does not end")
		}
	}
}

// how says how it ended, in a word or two.
func (o *outcome) how() string {
	s := o.State
	if o.KilledBy != "" {
		s += " (" + o.KilledBy + ")"
	}
	if o.Error != nil {
		s += " " + o.Error.Type
	}
	return s
}

func (o *outcome) String() string {
	return fmt.Sprintf("%s\nstdout: %.3000s\nstderr: %.3000s", &o.Execution, o.stdout, o.stderr)
}

// ok checks that it succeeded.
func (o *outcome) ok() *outcome {
	o.t.Helper()
	if o.State != "success" {
		o.t.Fatalf("the script ended as %s", o)
	}
	return o
}

// says checks a part of what it wrote, which proves that it came so far.
func (o *outcome) says(part string) *outcome {
	o.t.Helper()
	if !strings.Contains(o.stdout, part) {
		o.t.Fatalf("stdout lacks %q: %s", part, o)
	}
	return o
}

// lastJSON decodes the last line of stdout.
func (o *outcome) lastJSON(out any) {
	o.t.Helper()
	lines := strings.Split(strings.TrimSpace(o.stdout), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), out); err != nil {
		o.t.Fatalf("the last line of stdout is no JSON: %v: %s", err, o)
	}
}
