package terminals_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
	"github.com/remuda-run/remuda/internal/store/storetest"
	"github.com/remuda-run/remuda/internal/terminals"
)

const ours remuda.OrganizationID = "org_ours"

func principal(user remuda.UserID, role remuda.Role) remuda.Principal {
	return remuda.Principal{User: user, UserName: string(user), Organization: ours, Role: role, Scope: remuda.ScopeWrite, RequestID: "req-1"}
}

var operator = principal("usr_a", remuda.RoleOperator)

// program echoes what is typed in capitals, and says how large it is when its
// size changes. An e ends it.
type program struct {
	near, far net.Conn
	done      chan struct{}
	once      sync.Once
	stuck     chan struct{} // its end waits for that, when there is one
}

func newProgram() *program {
	p := &program{done: make(chan struct{})}
	p.near, p.far = net.Pipe()
	go func() {
		defer p.end()
		b := make([]byte, 64)
		for {
			n, err := p.far.Read(b)
			if err != nil || string(b[:n]) == "e" {
				return
			}
			if _, err := p.far.Write([]byte(strings.ToUpper(string(b[:n])))); err != nil {
				return
			}
		}
	}()
	return p
}

func (p *program) end() {
	p.once.Do(func() { _ = p.far.Close(); close(p.done) })
}

func (p *program) Read(b []byte) (int, error)  { return p.near.Read(b) }
func (p *program) Write(b []byte) (int, error) { return p.near.Write(b) }
func (p *program) Resize(rows, cols int) error { return nil }
func (p *program) Done() <-chan struct{}       { return p.done }
func (p *program) ExitCode() int               { return 3 }

func (p *program) Close() error {
	if p.stuck != nil {
		<-p.stuck
	}
	err := p.near.Close()
	<-p.done
	return err
}

// instance is one in which terminals can be opened.
type instance struct {
	engine.Instance

	mu     sync.Mutex
	opened []*program
	fails  error
}

func (i *instance) OpenTerminal(context.Context, engine.TerminalSpec) (engine.Terminal, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.fails != nil {
		return nil, i.fails
	}
	p := newProgram()
	i.opened = append(i.opened, p)
	return p, nil
}

// world is the runspaces and tokens that the service knows.
type world struct {
	*terminals.Service
	store *store.Store
	inst  engine.Instance

	mu      sync.Mutex
	users   int
	ended   bool
	revoked map[remuda.TokenID]bool
	lowered map[remuda.TokenID]bool // their users may only look any more
}

func (w *world) GetRunspace(_ context.Context, p remuda.Principal, id remuda.RunspaceID) (remuda.Runspace, error) {
	if id != "rsp_1" || p.Organization != ours {
		return remuda.Runspace{}, remuda.NotFound("runspace", string(id))
	}
	return remuda.Runspace{ID: id}, nil
}

func (w *world) Use(ctx context.Context, p remuda.Principal, id remuda.RunspaceID) (func(), engine.Instance, error) {
	if _, err := w.GetRunspace(ctx, p, id); err != nil {
		return nil, nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return nil, nil, remuda.Errorf(remuda.CodeConflict, "runspace %s has ended", id)
	}
	w.users++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.users--
	}, w.inst, nil
}

func (w *world) Principals(_ context.Context, ids []remuda.TokenID) (map[remuda.TokenID]remuda.Principal, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	principals := map[remuda.TokenID]remuda.Principal{}
	for _, id := range ids {
		if w.revoked[id] {
			continue
		}
		p := operator
		if w.lowered[id] {
			p.Role = remuda.RoleMonitor
		}
		principals[id] = p
	}
	return principals, nil
}

func (w *world) inUse() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.users
}

func newWorld(st terminals.Store, set terminals.Settings) *world {
	w := &world{inst: &instance{}, revoked: map[remuda.TokenID]bool{}, lowered: map[remuda.TokenID]bool{}}
	w.Service = terminals.New(st, w, w, slog.New(slog.DiscardHandler), set)
	return w
}

func open(t *testing.T, set terminals.Settings) *world {
	t.Helper()
	st, err := store.Open(t.Context(), store.Options{Path: storetest.Fresh(t, filepath.Join(t.TempDir(), "remuda.db"))})
	if err != nil {
		t.Fatal(err)
	}
	err = st.Write(t.Context(), func(tx *store.Tx) error {
		return tx.InsertOrganization(t.Context(), remuda.Organization{ID: ours, Name: "ours", CreatedAt: time.Now()})
	})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(st, set)
	w.store = st
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { _ = w.Run(ctx) })
	t.Cleanup(func() {
		err := w.Service.Close(context.Background())
		cancel()
		run.Wait()
		if err := errors.Join(err, st.Close()); err != nil {
			t.Error(err)
		}
		if n := w.inUse(); n != 0 {
			t.Errorf("the runspace is used %d times at the end", n)
		}
	})
	return w
}

func (w *world) terminal(t *testing.T) (remuda.Terminal, remuda.TerminalTicket) {
	t.Helper()
	info, ticket, err := w.OpenTerminal(t.Context(), operator, remuda.TerminalRequest{Runspace: "rsp_1"})
	if err != nil {
		t.Fatal(err)
	}
	return info, ticket
}

func (w *world) attach(t *testing.T, ref remuda.TerminalID, secret string) *terminals.Attachment {
	t.Helper()
	a, err := w.Attach(t.Context(), string(ref), secret)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// shows waits until a connection has shown exactly text.
func shows(t *testing.T, a *terminals.Attachment, text string) {
	t.Helper()
	got := ""
	for len(got) < len(text) {
		p, err := a.Next(t.Context())
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got += string(p)
	}
	if got != text {
		t.Fatalf("it shows %q, want %q", got, text)
	}
}

func types(t *testing.T, a *terminals.Attachment, text string) {
	t.Helper()
	if err := a.Write(t.Context(), []byte(text)); err != nil {
		t.Fatal(err)
	}
}

type noStore struct{}

func (noStore) Write(context.Context, func(*store.Tx) error) error { return nil }
