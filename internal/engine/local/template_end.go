package local

import (
	"context"
	"maps"
	"slices"

	"github.com/remuda-run/remuda/internal/remuda"
)

// last waits until nothing of a template runs. Its instances may outlive its use
// for long; it reports false when they outlive this server too.
func (t *template) last(ctx context.Context) bool {
	b, log := t.blank, t.engine.log
	over := make(chan struct{})
	var err error
	go func() {
		defer close(over)
		err = b.proc.Wait()
	}()
	select {
	case <-ctx.Done():
	case <-over:
	}
	t.end()
	if err := t.stock.close(); err != nil {
		log.Error("a fork that was not used could not be removed", "runtime", t.key.Runtime, "error", err)
	}
	t.groups.Close()
	select {
	case <-over:
	case <-t.leaving:
		return false
	}
	if err != nil {
		log.Error("a template's end could not be awaited", "pid", b.proc.pid, "error", err)
	}
	return true
}

// keep says that instances of the template are to outlive this server, and so
// its keeper.
func (t *template) keep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = true
}

func (ts *templates) refuse(key remuda.GenerationKey) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.refused[key] = true
}

// templateTries is how many templates of a generation may turn out to give no
// forks. Each may have cost an instance the time of one.
const templateTries = 3

// proven is how many forks a template must have given for those before it not to
// count any more.
const proven = 100

// giveUp ends a template that gives no forks.
func (ts *templates) giveUp(t *template) {
	ts.mu.Lock()
	if ts.byKey[t.key] == t {
		delete(ts.byKey, t.key)
	}
	if !t.givenUp {
		t.givenUp = true
		if ts.failed[t.key]++; t.forks.Load() >= proven {
			ts.failed[t.key] = 1 // it is not that templates of this generation give no forks
		}
		ts.refused[t.key] = ts.refused[t.key] || ts.failed[t.key] >= templateTries
	}
	ts.mu.Unlock()
	t.end()
}

// forget keeps t from being found.
func (ts *templates) forget(t *template) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.byKey[t.key] == t {
		delete(ts.byKey, t.key)
	}
}

// retire lets go of a generation's template.
func (ts *templates) retire(key remuda.GenerationKey) {
	ts.mu.Lock()
	t := ts.byKey[key]
	delete(ts.byKey, key)
	delete(ts.asked, key)
	delete(ts.refused, key)
	delete(ts.failed, key)
	ts.mu.Unlock()
	if t != nil {
		t.end()
	}
}

// close ends every template and waits until nothing is left of them. Their
// instances must have ended, or be detached.
func (ts *templates) close() {
	ts.mu.Lock()
	ts.closed = true
	all := slices.Collect(maps.Keys(ts.living))
	ts.mu.Unlock()
	for _, t := range all {
		t.end()
		t.mu.Lock()
		if t.kept {
			close(t.leaving)
		}
		t.mu.Unlock()
	}
	ts.running.Wait()
}

// end takes no more forks of t. Its keeper ends with the last of its instances.
func (t *template) end() {
	t.cancel()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	t.ended = true
	if t.blank != nil {
		t.idle.Stop()
		t.blank.conn.Close()
	}
}
