package executions_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// kept are the limits of our organization, which can change.
type kept struct {
	mu     sync.Mutex
	limits remuda.Limits
}

func (k *kept) set(l remuda.Limits) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.limits = l
}

func (k *kept) Limits(org remuda.OrganizationID) remuda.Limits {
	k.mu.Lock()
	defer k.mu.Unlock()
	if org != ours {
		return remuda.Limits{}
	}
	return k.limits
}

func (k *kept) LimitedOrganizations(context.Context) ([]remuda.OrganizationID, error) {
	return []remuda.OrganizationID{ours, theirs}, nil
}

func (h *house) ranAs(t *testing.T, p remuda.Principal, req remuda.ExecutionRequest) remuda.Execution {
	t.Helper()
	ex, err := h.executions.SubmitExecution(t.Context(), p, req, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return ex
}

func (h *house) there(t *testing.T, p remuda.Principal, id remuda.ExecutionID) bool {
	t.Helper()
	_, err := h.executions.GetExecution(t.Context(), p, id)
	if code := remuda.CodeOf(err); code != "" && code != remuda.CodeNotFound {
		t.Fatal(err)
	}
	_, outErr := h.executions.Output(t.Context(), p, id, 0, 0, 0)
	if err != nil && remuda.CodeOf(outErr) != remuda.CodeNotFound {
		t.Errorf("the execution: %v, its output: %v", err, outErr)
	}
	return err == nil
}

func (h *house) sweep(t *testing.T, want int) {
	t.Helper()
	if n, err := h.executions.SweepHistory(t.Context()); err != nil || n != want {
		t.Errorf("swept %d, %v; want %d", n, err, want)
	}
}

func TestHistoryByCount(t *testing.T) {
	t.Parallel()
	limits := &kept{}
	h := open(t, settings{executions: executions.Settings{Limits: limits}})
	bob, stranger := deployer, principal(theirs, remuda.RoleOperator)
	bob.User = "usr_b"
	say := remuda.ExecutionRequest{Runtime: "r", Script: "print hello"}
	running := h.submit(t, remuda.ExecutionRequest{Runtime: "r", Script: "block"})
	var mine []remuda.ExecutionID
	for n := range 5 {
		req := say
		req.IdempotencyKey = "key" + strconv.Itoa(n)
		mine = append(mine, h.ranAs(t, deployer, req).ID)
	}
	his, theirs1 := h.ranAs(t, bob, say).ID, h.ranAs(t, stranger, remuda.ExecutionRequest{Runtime: "python", Script: "print x"}).ID
	h.sweep(t, 0) // nothing is limited
	limits.set(remuda.Limits{KeepExecutions: 2})
	h.sweep(t, 3)
	h.sweep(t, 0)
	for i, id := range mine {
		if got := h.there(t, deployer, id); got != (i >= 3) {
			t.Errorf("execution %d of 5 is there: %v", i+1, got)
		}
	}
	if !h.there(t, bob, his) || !h.there(t, stranger, theirs1) || !h.there(t, deployer, running.ID) {
		t.Error("something was deleted that is not meant")
	}
	// The keys of what is gone are free; those of the others are not.
	req := say
	for n, want := range map[int]bool{0: false, 4: true} {
		req.IdempotencyKey = "key" + strconv.Itoa(n)
		if again := h.ranAs(t, deployer, req); (again.ID == mine[n]) != want {
			t.Errorf("the request %d again is %s, before %s", n, again.ID, mine[n])
		}
	}
	if _, err := h.executions.CancelExecution(t.Context(), deployer, running.ID); err != nil {
		t.Errorf("what runs: %v", err)
	}
	h.wantForgotten(t, "beyond=2 executions=3 owner=usr_a")
}

// wantForgotten wants these entries of deletions in the audit log, oldest first.
func (h *house) wantForgotten(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	err := h.store.Read(t.Context(), func(tx *store.Tx) error {
		list, _, err := tx.Audit(t.Context(), ours, remuda.Page{Limit: 200})
		for _, e := range list {
			if d := e.Details; d["change"] == "forget" && e.User == "" {
				text := "executions=" + d["executions"]
				if d["beyond"] != "" {
					text = "beyond=" + d["beyond"] + " " + text + " owner=" + d["owner"]
				} else {
					text = "older=" + d["older_than"] + " " + text
				}
				got = append([]string{text}, got...)
			}
		}
		return err
	})
	if err != nil || strings.Join(got, "; ") != strings.Join(want, "; ") {
		t.Errorf("audit log has %q, %v; want %q", got, err, want)
	}
}

// Very many go in several transactions, each of which says so, and what has not ended
// stays however old it is.
func TestHistoryByAge(t *testing.T) {
	t.Parallel()
	limits := &kept{}
	h := open(t, settings{executions: executions.Settings{Limits: limits}})
	running := h.submit(t, remuda.ExecutionRequest{Runtime: "r", Script: "block"})
	young := h.ranAs(t, deployer, remuda.ExecutionRequest{Runtime: "r", Script: "print x"})
	old := remuda.Now().Add(-48 * time.Hour)
	h.write(t, func(tx *store.Tx) error {
		for n := range 230 {
			id := remuda.IDBefore(remuda.PrefixExecution, old)
			suffix := remuda.NewExecutionID()
			e := remuda.Execution{
				ID: remuda.ExecutionID(id[:len(id)-20]) + suffix[len(suffix)-20:], Organization: ours, Owner: remuda.UserID(fmt.Sprint("usr_", n%7)), State: remuda.ExecutionSuccess,
				CreatedAt: old, EndedAt: &old, OutputBytes: 1,
			}
			if err := tx.InsertExecution(t.Context(), e); err != nil {
				return err
			}
		}
		return nil
	})
	limits.set(remuda.Limits{KeepFor: 24 * time.Hour})
	h.sweep(t, 230)
	if !h.there(t, deployer, running.ID) || !h.there(t, deployer, young.ID) {
		t.Error("something was deleted that is not meant")
	}
	h.wantForgotten(t, "older=24h0m0s executions=100", "older=24h0m0s executions=100", "older=24h0m0s executions=30")
	limits.set(remuda.Limits{KeepFor: time.Microsecond})
	until(t, "the young one has an age", func() bool {
		_, err := h.executions.SweepHistory(t.Context())
		return err == nil && !h.there(t, deployer, young.ID)
	})
	if !h.there(t, deployer, running.ID) {
		t.Error("what runs was deleted")
	}
}

// Much output is not deleted in one transaction either.
func TestHistoryOfMuchOutput(t *testing.T) {
	t.Parallel()
	limits := &kept{}
	h := open(t, settings{executions: executions.Settings{Limits: limits}})
	for range 3 {
		h.ranAs(t, deployer, remuda.ExecutionRequest{Runtime: "r", Script: "flood 3000000"})
	}
	limits.set(remuda.Limits{KeepFor: time.Microsecond})
	h.sweep(t, 3)
	h.wantForgotten(t, "older=1µs executions=1", "older=1µs executions=1", "older=1µs executions=1")
}

// Run does it by itself.
func TestHistoryIsSweptByItself(t *testing.T) {
	t.Parallel()
	limits := &kept{}
	limits.set(remuda.Limits{KeepExecutions: 1})
	h := open(t, settings{executions: executions.Settings{Limits: limits, HistoryEvery: 5 * time.Millisecond}})
	say := remuda.ExecutionRequest{Runtime: "r", Script: "print x"}
	first := h.ranAs(t, deployer, say)
	// Which of two is the older is known to the millisecond.
	until(t, "a millisecond has gone by", func() bool { return remuda.IDBefore(remuda.PrefixExecution, time.Now()) > string(first.ID) })
	second := h.ranAs(t, deployer, say)
	until(t, "the first one is gone", func() bool { return !h.there(t, deployer, first.ID) })
	if !h.there(t, deployer, second.ID) {
		t.Error("the second one is gone too")
	}
}

// A change of the limits is not waited for.
func TestHistoryFollowsTheLimits(t *testing.T) {
	t.Parallel()
	limits := &kept{}
	h := open(t, settings{executions: executions.Settings{Limits: limits}}) // looks at it every five minutes
	ex := h.run(t, remuda.ExecutionRequest{Runtime: "r", Script: "print x"})
	limits.set(remuda.Limits{KeepFor: time.Microsecond})
	for range 10 {
		h.executions.LimitsChanged(ours)
	}
	until(t, "the execution is gone", func() bool { return !h.there(t, deployer, ex.ID) })
}

// TestHistoryWhileRunning sweeps everything all the time while executions run, are
// read and canceled: each end is recorded once and nothing breaks.
func TestHistoryWhileRunning(t *testing.T) {
	t.Parallel()
	limits := &kept{}
	limits.set(remuda.Limits{KeepFor: time.Microsecond, KeepExecutions: 1})
	h := open(t, settings{executions: executions.Settings{Limits: limits, HistoryEvery: time.Millisecond}})
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			for range 25 {
				ex, err := h.executions.SubmitExecution(t.Context(), deployer, remuda.ExecutionRequest{Runtime: "r", Script: "print x\nsleep 1ms\nprint y"}, time.Minute)
				if err != nil || ex.State != remuda.ExecutionSuccess {
					t.Errorf("writer %d: %s, %v", n, ex.State, err)
					return
				}
				if _, err := h.executions.Output(t.Context(), deployer, ex.ID, 0, 0, 0); err != nil && remuda.CodeOf(err) != remuda.CodeNotFound {
					t.Errorf("output: %v", err)
				}
			}
		})
	}
	all.Wait()
	if err := h.store.Check(t.Context()); err != nil {
		t.Error(err)
	}
}
