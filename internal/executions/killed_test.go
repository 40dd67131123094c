package executions_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/store"
)

// client is a user of a world who writes down what was acknowledged.
type client struct {
	w        *world
	spaces   map[remuda.RunspaceID]*toldSpace
	runs     map[remuda.ExecutionID]*toldRun
	inFlight remuda.RunspaceID // whose reset or deletion was asked for, and not answered
}

// toldSpace is what a client was told of a runspace.
type toldSpace struct {
	ready  bool   // for good: nobody has ended or reset it since
	plain  bool   // it has no script that may not run twice, so that it will be ready
	x      string // what its variable x is known to be
	closed bool
	resets int
}

// toldRun is what a client was told of an execution.
type toldRun struct {
	space remuda.RunspaceID
	end   remuda.Execution // zero while it has not ended
	out   string           // what it is to have written if it succeeds
}

func newClient(w *world) *client {
	return &client{w: w, spaces: map[remuda.RunspaceID]*toldSpace{}, runs: map[remuda.ExecutionID]*toldRun{}}
}

func (c *client) create(ctx context.Context, req remuda.RunspaceRequest) (remuda.RunspaceID, error) {
	req.Runtime = cmp.Or(req.Runtime, "r")
	rs, err := c.w.now.runspaces.CreateRunspace(ctx, deployer, req)
	if err != nil {
		return "", err
	}
	told := &toldSpace{plain: req.InitScript == ""}
	c.spaces[rs.ID] = told
	rs, err = c.w.now.runspaces.WaitRunspace(ctx, deployer, rs.ID, 10*time.Second)
	if err != nil {
		return "", err
	}
	if rs.State != remuda.RunspaceReady {
		return "", fmt.Errorf("runspace is %s: %s", rs.State, rs.Error)
	}
	told.ready = true
	return rs.ID, nil
}

// run submits a script and waits for its end, or not.
func (c *client) run(ctx context.Context, id remuda.RunspaceID, script, out string, wait time.Duration) (remuda.ExecutionID, error) {
	e, err := c.w.now.executions.SubmitExecution(ctx, deployer, remuda.ExecutionRequest{Runspace: id, Script: script, Queue: true}, wait)
	if err != nil {
		return "", err
	}
	c.tell(e, out)
	return e.ID, nil
}

func (c *client) tell(e remuda.Execution, out string) {
	told := c.runs[e.ID]
	if told == nil {
		told = &toldRun{space: e.Runspace, out: out}
		c.runs[e.ID] = told
	}
	if e.State.Final() {
		told.end = e
	}
}

func (c *client) wait(ctx context.Context, id remuda.ExecutionID) error {
	e, err := c.w.now.executions.WaitExecution(ctx, deployer, id, 10*time.Second)
	if err != nil {
		return err
	}
	c.tell(e, "")
	if !e.State.Final() {
		return fmt.Errorf("%s is %s", id, e.State)
	}
	return nil
}

// newWarmWorld is a world with a runtime "w" of which an instance is warm.
func newWarmWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, settings{})
	_, err := w.now.runtimes.CreateRuntime(t.Context(), deployer, remuda.Definition{
		Name: "w", Language: remuda.LanguagePython, Resources: remuda.Resources{DiskMB: 1}, Pool: remuda.PoolBounds{MinCached: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	ready := func(s pool.Status) bool { return s.Ready > 0 }
	for give := time.Now().Add(20 * time.Second); !slices.ContainsFunc(w.now.pool.Status(), ready); time.Sleep(time.Millisecond) {
		if time.Now().After(give) {
			t.Fatal("no instance became warm")
		}
	}
	return w
}

// story uses everything that a server has to remember. It ends at the first error.
func (c *client) story(ctx context.Context) error {
	// Ready at once: a warm instance is all that it takes.
	warm, err := c.create(ctx, remuda.RunspaceRequest{Runtime: "w", Name: "warm"})
	if err != nil {
		return err
	}
	if _, err = c.run(ctx, warm, "set x warm", "", time.Minute); err != nil {
		return err
	}
	c.spaces[warm].x = "warm"
	a, err := c.create(ctx, remuda.RunspaceRequest{Name: "a"})
	if err != nil {
		return err
	}
	if _, err = c.run(ctx, a, "set x 1", "", time.Minute); err != nil {
		return err
	}
	c.spaces[a].x = "1"
	long, err := c.run(ctx, a, "print one\nsleep 30ms\nprint two\nflood 100000\nsleep 5ms\nprint three", "one\ntwo\n"+strings.Repeat("x", 100000)+"three\n", 0)
	if err != nil {
		return err
	}
	next, err := c.run(ctx, a, "get x", "1\n", 0)
	if err != nil {
		return err
	}
	if _, err = c.w.now.executions.Output(ctx, deployer, long, 0, 0, time.Second); err != nil {
		return err
	}
	for _, id := range []remuda.ExecutionID{long, next} {
		if err := c.wait(ctx, id); err != nil {
			return err
		}
	}
	b, err := c.create(ctx, remuda.RunspaceRequest{InitScript: "set x init"})
	if err != nil {
		return err
	}
	c.spaces[b].x = "init"
	if _, err = c.run(ctx, b, "write kept text", "", time.Minute); err != nil {
		return err
	}
	return c.resetAndDelete(ctx, a, b)
}

func (c *client) resetAndDelete(ctx context.Context, a, b remuda.RunspaceID) error {
	c.inFlight, c.spaces[b].ready = b, false
	if _, err := c.w.now.runspaces.ResetRunspace(ctx, deployer, b, runspaces.ResetRequest{}); err != nil {
		return err
	}
	rs, err := c.w.now.runspaces.WaitRunspace(ctx, deployer, b, 10*time.Second)
	if err != nil {
		return err
	}
	if rs.State != remuda.RunspaceReady {
		return fmt.Errorf("after a reset the runspace is %s: %s", rs.State, rs.Error)
	}
	c.inFlight, c.spaces[b].ready = "", true
	if _, err = c.run(ctx, b, "read kept\nget x", "textinit\n", time.Minute); err != nil {
		return err
	}
	c.inFlight, c.spaces[a].ready, c.spaces[a].plain = a, false, false
	if err := c.w.now.runspaces.DeleteRunspace(ctx, deployer, a); err != nil {
		return err
	}
	c.inFlight, c.spaces[a].closed = "", true
	return nil
}

// holds checks a server against everything that was told.
func (c *client) holds(t fataler) {
	t.Helper()
	ctx, s := context.Background(), c.w.now
	for id, told := range c.runs {
		e, err := s.executions.WaitExecution(ctx, deployer, id, 20*time.Second)
		if err != nil || !e.State.Final() {
			t.Fatalf("an execution that was told is %s (%s), %v", e.State, e.Reason, err)
		}
		if told.end.ID != "" && (e.State != told.end.State || e.Reason != told.end.Reason) {
			t.Errorf("an execution that was told as %s (%s) is %s (%s)", told.end.State, told.end.Reason, e.State, e.Reason)
		}
		if out := c.output(t, id); e.State == remuda.ExecutionSuccess && out != told.out {
			t.Errorf("a successful execution has %d bytes of output, not %d: %.60q", len(out), len(told.out), out)
		} else if !strings.HasPrefix(told.out, out) {
			t.Errorf("an execution in state %s has output that it did not write: %.60q", e.State, out)
		}
		// The server may have died on the way to the sandbox: then nothing has run.
		begun := e.StartedAt != nil && (e.OutputBytes > 0 || !strings.Contains(e.Reason, "does not know of it"))
		if e.State == remuda.ExecutionLost && c.spaces[told.space].ready && begun {
			t.Errorf("an execution is lost that ran in a runspace which lives on: %s", e.Reason)
		}
		got := slices.DeleteFunc(c.changes(t, string(id)), func(change string) bool { return change == "cancel" })
		if !slices.Equal(got, []string{"submit", "end"}) {
			t.Errorf("the audit log of an execution has %v", got)
		}
	}
	for id, told := range c.spaces {
		c.spaceHolds(t, id, told)
	}
}

func (c *client) spaceHolds(t fataler, id remuda.RunspaceID, told *toldSpace) {
	t.Helper()
	ctx, s := context.Background(), c.w.now
	rs, err := s.runspaces.WaitRunspace(ctx, deployer, id, 20*time.Second)
	// A script that was stored and not told of when the server died may run on.
	for give := time.Now().Add(20 * time.Second); err == nil && rs.State == remuda.RunspaceActive && time.Now().Before(give); {
		time.Sleep(time.Millisecond)
		rs, err = s.runspaces.GetRunspace(ctx, deployer, id)
	}
	if err != nil {
		t.Fatalf("a runspace that was told: %v", err)
	}
	switch {
	case told.closed && rs.State != remuda.RunspaceClosed:
		t.Errorf("a runspace that was deleted is %s", rs.State)
	case (told.ready || told.plain) && rs.State != remuda.RunspaceReady:
		t.Errorf("a runspace that was told as ready is %s: %s", rs.State, rs.Error)
	case rs.State == remuda.RunspaceCreating:
		t.Errorf("a runspace is stuck in creation")
	case rs.State == remuda.RunspaceError && rs.Error == "":
		t.Errorf("a runspace in error has no reason")
	}
	if rs.State != remuda.RunspaceReady {
		return
	}
	script, want := "print works", "works\n"
	if told.ready && told.x != "" {
		script, want = "get x", told.x+"\n"
	}
	e, err := s.executions.SubmitExecution(ctx, deployer, remuda.ExecutionRequest{Runspace: id, Script: script}, 10*time.Second)
	if !told.ready && remuda.ReasonOf(err) == remuda.ReasonRunspaceNotReady {
		return // it is ending
	}
	if err != nil || e.State != remuda.ExecutionSuccess || c.output(t, e.ID) != want {
		t.Errorf("a script in a runspace of an earlier server: %s (%s), %v", e.State, e.Reason, err)
	}
}

func (c *client) output(t fataler, id remuda.ExecutionID) string {
	t.Helper()
	var all []byte
	var after int64
	for {
		page, err := c.w.now.executions.Output(context.Background(), deployer, id, after, 0, 10*time.Second)
		if err != nil {
			t.Fatalf("output: %v", err)
		}
		for _, rec := range page.Records {
			if rec.Seq != after+1 {
				t.Fatalf("record %d follows %d", rec.Seq, after)
			}
			after = rec.Seq
			all = append(all, rec.Data...)
		}
		if page.Ended {
			return string(all)
		}
	}
}

func (c *client) changes(t fataler, object string) (changes []string) {
	t.Helper()
	err := c.w.store.Read(context.Background(), func(tx *store.Tx) error {
		var page remuda.Page
		for page.Limit = 200; ; {
			list, next, err := tx.Audit(context.Background(), ours, page)
			for _, e := range list {
				if e.Object == object {
					changes = append(changes, e.Details["change"])
				}
			}
			if page.Cursor = next; next == "" || err != nil {
				return err
			}
		}
	})
	if err != nil {
		t.Fatalf("audit: %v", err)
	}
	slices.Reverse(changes)
	return changes
}

// TestKilledAtEveryPoint kills the server at each point of a story, one after the
// other, and has the next one prove what it was told.
func TestKilledAtEveryPoint(t *testing.T) {
	t.Parallel()
	const many = 1 << 20
	w := newWarmWorld(t)
	w.now.fuse.left.Store(many)
	c := newClient(w)
	if err := c.story(t.Context()); err != nil {
		t.Fatalf("the story without a kill: %v", err)
	}
	points := many - w.now.fuse.left.Load()
	if points < 30 {
		t.Fatalf("the story has %d points only", points)
	}
	c.holds(t)
	step := int64(1)
	if testing.Short() {
		step = 7
	}
	for n := int64(1); n <= points; n += step {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			killAt(t, n)
		})
	}
}

func killAt(t *testing.T, n int64) {
	t.Helper()
	w := newWarmWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := w.now
	kill := s.fuse.kill
	s.fuse.kill = func() {
		kill()
		cancel() // whoever is connected gets no answer
	}
	s.fuse.left.Store(n)
	c := newClient(w)
	if err := c.story(ctx); err != nil && !s.fuse.blown.Load() {
		t.Errorf("the story ended before the kill: %v", err)
	}
	w.kill()
	w.start()
	c.holds(t)
	w.leave()
	w.start()
	c.holds(t)
}
