package runspaces_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
)

// limits are those of our organization, which can change.
type limits struct {
	mu  sync.Mutex
	all map[remuda.OrganizationID]remuda.Limits
}

func (l *limits) set(org remuda.OrganizationID, to remuda.Limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[remuda.OrganizationID]remuda.Limits{}
	}
	l.all[org] = to
}

func (l *limits) Limits(org remuda.OrganizationID) remuda.Limits {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[org]
}

func wantTooMany(t *testing.T, err error, says string) {
	t.Helper()
	var e *remuda.Error
	if !errors.As(err, &e) || e.Code != remuda.CodeExhausted || e.Reason != remuda.ReasonTooManyRunspaces || e.Remedy == "" || !strings.Contains(e.Cause, says) {
		t.Errorf("one more: %v, want exhausted that says %q", err, says)
	}
}

// The numbers hold for new runspaces from the moment that they are changed; what is
// open stays open.
func TestNumbersOfRunspacesAreLive(t *testing.T) {
	t.Parallel()
	lim := &limits{}
	h := open(t, runspaces.Settings{MaxOpen: 4, Limits: lim})
	bob, stranger := deployer, principal(theirs, remuda.RoleOperator)
	bob.User = "usr_b"
	try := func(p remuda.Principal) error {
		runtime := "r"
		if p.Organization == theirs {
			runtime = "python"
		}
		_, err := h.CreateRunspace(t.Context(), p, remuda.RunspaceRequest{Runtime: runtime})
		return err
	}
	var mine []remuda.RunspaceID
	for range 3 {
		mine = append(mine, h.ready(t, remuda.RunspaceRequest{}).ID)
	}
	lim.set(ours, remuda.Limits{MaxRunspacesPerUser: 2})
	wantTooMany(t, try(deployer), "the user has 3 open")
	if err := try(bob); err != nil {
		t.Errorf("another user: %v", err)
	}
	wantTooMany(t, try(bob), "the organization has 4 open")
	lim.set(ours, remuda.Limits{MaxRunspaces: 1})
	wantTooMany(t, try(bob), "the organization has 4 open")
	for _, id := range mine {
		if got := h.state(t, id); got.State != remuda.RunspaceReady {
			t.Errorf("what was open is %s: %s", got.State, got.Error)
		}
	}
	if err := try(stranger); err != nil {
		t.Errorf("another organization: %v", err)
	}
	lim.set(ours, remuda.Limits{MaxRunspaces: 5})
	if err := try(bob); err != nil {
		t.Errorf("above the site's number, as the organization says: %v", err)
	}
	lim.set(ours, remuda.Limits{})
	wantTooMany(t, try(bob), "the organization has 5 open")
}

// However many ask at once, no more are opened than may be.
func TestNumbersHoldInACrowd(t *testing.T) {
	t.Parallel()
	lim := &limits{}
	lim.set(ours, remuda.Limits{MaxRunspacesPerUser: 3})
	h := open(t, runspaces.Settings{Limits: lim})
	var all sync.WaitGroup
	var mu sync.Mutex
	opened := 0
	for range 24 {
		all.Go(func() {
			_, err := h.CreateRunspace(t.Context(), deployer, remuda.RunspaceRequest{Runtime: "r"})
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				opened++
				return
			}
			if remuda.ReasonOf(err) != remuda.ReasonTooManyRunspaces {
				t.Errorf("refused with %v", err)
			}
		})
	}
	all.Wait()
	if opened != 3 {
		t.Errorf("%d were opened, want 3", opened)
	}
}

// A change of the times reaches open runspaces that did not ask for their own.
func TestTimesAreLive(t *testing.T) {
	t.Parallel()
	lim := &limits{}
	h := open(t, runspaces.Settings{IdleTimeout: -1, SweepEvery: 5 * time.Millisecond, Limits: lim})
	hour, never := time.Hour, time.Duration(0)
	follows := h.ready(t, remuda.RunspaceRequest{})
	own := h.ready(t, remuda.RunspaceRequest{IdleTimeout: &hour, ActiveTimeout: &hour})
	forever := h.ready(t, remuda.RunspaceRequest{IdleTimeout: &never, ActiveTimeout: &never})
	busy := h.ready(t, remuda.RunspaceRequest{IdleTimeout: &never})
	lim.set(ours, remuda.Limits{IdleTimeout: 90 * time.Minute, ActiveTimeout: 2 * time.Hour})
	until(t, "the times have changed", func() bool {
		got := h.state(t, follows.ID)
		return got.IdleTimeout == 90*time.Minute && got.ActiveTimeout == 2*time.Hour
	})
	if got := h.state(t, own.ID); got.IdleTimeout != hour || got.ActiveTimeout != hour {
		t.Errorf("own times became %s and %s", got.IdleTimeout, got.ActiveTimeout)
	}
	if got := h.state(t, forever.ID); got.IdleTimeout != 0 || got.ActiveTimeout != 0 {
		t.Errorf("no times became %s and %s", got.IdleTimeout, got.ActiveTimeout)
	}
	if got := h.state(t, busy.ID); got.IdleTimeout != 0 || got.ActiveTimeout != 2*time.Hour {
		t.Errorf("one own time: %s and %s", got.IdleTimeout, got.ActiveTimeout)
	}
	hold, err := h.Acquire(t.Context(), deployer, busy.ID, "ex_1")
	if err != nil {
		t.Fatal(err)
	}
	lim.set(ours, remuda.Limits{IdleTimeout: time.Microsecond, ActiveTimeout: time.Microsecond})
	until(t, "the idle one is closed", func() bool { return h.state(t, follows.ID).State == remuda.RunspaceClosed })
	until(t, "what runs too long is ended", func() bool { return hold.Cut() != nil })
	if cut := hold.Cut(); !cut.Limit || !strings.Contains(cut.Reason, "active timeout of 1µs") {
		t.Errorf("it is ended for %+v", cut)
	}
	hold.Release(runspaces.Outcome{Ran: true})
	until(t, "its runspace is in error", func() bool { return h.state(t, busy.ID).State == remuda.RunspaceError })
	for _, rs := range []remuda.Runspace{own, forever} {
		if got := h.state(t, rs.ID); got.State != remuda.RunspaceReady {
			t.Errorf("one with times of its own is %s: %s", got.State, got.Error)
		}
	}
}

// Memory is what was asked for, below the organization's limit, below the runtime's.
func TestMemory(t *testing.T) {
	t.Parallel()
	lim := &limits{}
	h := open(t, runspaces.Settings{Limits: lim})
	rt, err := h.rts.Usable(deployer, "r")
	if err != nil {
		t.Fatal(err)
	}
	all := rt.Resources.MemoryMB
	for _, c := range []struct {
		limit, asked, want int
		says               string // of a refusal
	}{
		{0, 0, 0, ""}, {0, all, 0, ""}, {0, all / 2, all / 2, ""}, {all / 2, 0, all / 2, ""}, {all / 2, all / 4, all / 4, ""}, {all * 2, 0, 0, ""},
		{all / 2, all, 0, "the limit of the organization"}, {0, all + 1, 0, "above the runtime's limit"}, {0, 1, 0, "must be"}, {0, -1, 0, "must"},
	} {
		lim.set(ours, remuda.Limits{MemoryMB: c.limit})
		rs, err := h.CreateRunspace(t.Context(), deployer, remuda.RunspaceRequest{Runtime: "r", MemoryMB: c.asked})
		if c.says != "" {
			var e *remuda.Error
			if !errors.As(err, &e) || e.Code != remuda.CodeInvalid || len(e.Fields) != 1 || e.Fields[0].Field != "memory_mb" || !strings.Contains(e.Fields[0].Message, c.says) {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		if err != nil || rs.MemoryMB != c.want {
			t.Errorf("%+v: got %d, %v", c, rs.MemoryMB, err)
		}
	}
}
