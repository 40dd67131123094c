package terminals_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/terminals"
)

func TestTickets(t *testing.T) {
	t.Parallel()
	w := open(t, terminals.Settings{})
	info, ticket := w.terminal(t)
	other, foreign := w.terminal(t)
	for name, secret := range map[string]string{"nothing": "", "a wrong one": "rmtk_x", "of another terminal": foreign.Secret} {
		if _, err := w.Attach(t.Context(), string(info.ID), secret); remuda.CodeOf(err) != remuda.CodeUnauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.Attach(t.Context(), string(other.ID), foreign.Secret); remuda.CodeOf(err) != remuda.CodeUnauthenticated {
		t.Errorf("what was tried at another terminal is used up: %v", err)
	}
	if _, err := w.Attach(t.Context(), "trm_none", ticket.Secret); remuda.CodeOf(err) != remuda.CodeUnauthenticated {
		t.Errorf("no such terminal: %v", err)
	}
	var refused error
	for range 64 {
		if _, err := w.Ticket(t.Context(), operator, string(info.ID)); err != nil {
			refused = err
			break
		}
	}
	if remuda.CodeOf(refused) != remuda.CodeExhausted {
		t.Errorf("64 tickets: %v", refused)
	}
	if err := w.CloseTerminal(t.Context(), operator, string(info.ID)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Ticket(t.Context(), operator, string(info.ID)); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Errorf("of what is closed: %v", err)
	}
}

func TestTicketsExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const life = 30 * time.Second
		w := newWorld(noStore{}, terminals.Settings{TicketLife: life})
		info, ticket := w.terminal(t)
		time.Sleep(life)
		if _, err := w.Attach(t.Context(), string(info.ID), ticket.Secret); remuda.CodeOf(err) != remuda.CodeUnauthenticated {
			t.Errorf("an expired ticket: %v", err)
		}
		fresh, err := w.Ticket(t.Context(), operator, string(info.ID))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(life - time.Nanosecond)
		a := w.attach(t, info.ID, fresh.Secret)
		time.Sleep(2 * life) // a connection keeps its ticket alive
		b := w.attach(t, info.ID, a.Resume)
		b.Close()
		time.Sleep(life)
		if _, err := w.Attach(t.Context(), string(info.ID), b.Resume); remuda.CodeOf(err) != remuda.CodeUnauthenticated {
			t.Errorf("of a connection that ended long ago: %v", err)
		}
		if err := w.Service.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestRightsGone has a token revoked, or its user's role lowered, while a connection
// lives that was made with it.
func TestRightsGone(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		take func(w *world)
		code remuda.Code
	}{
		{"the token is revoked", func(w *world) { w.revoked["tok_1"] = true }, remuda.CodeUnauthenticated},
		{"the role is lowered", func(w *world) { w.lowered["tok_1"] = true }, remuda.CodeForbidden},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := open(t, terminals.Settings{Sweep: time.Millisecond})
			info, _ := w.terminal(t)
			p := operator
			p.Token = "tok_1"
			ticket, err := w.Ticket(t.Context(), p, string(info.ID))
			if err != nil {
				t.Fatal(err)
			}
			unused, err := w.Ticket(t.Context(), p, string(info.ID))
			if err != nil {
				t.Fatal(err)
			}
			a := w.attach(t, info.ID, ticket.Secret)
			w.mu.Lock()
			c.take(w)
			w.mu.Unlock()
			if _, err := a.Next(t.Context()); remuda.CodeOf(err) != c.code {
				t.Errorf("the connection ends with %v", err)
			}
			<-a.Gone()
			for name, secret := range map[string]string{"a ticket": unused.Secret, "its resumption": a.Resume} {
				if _, err := w.Attach(t.Context(), string(info.ID), secret); remuda.CodeOf(err) != c.code {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}
