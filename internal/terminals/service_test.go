package terminals_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/terminals"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConnections(t *testing.T) {
	t.Parallel()
	w := open(t, terminals.Settings{})
	info, ticket := w.terminal(t)
	if info.Owner != "usr_a" || info.Rows != 24 || info.Cols != 80 || info.Attached || !strings.HasPrefix(ticket.Secret, "rmtk_") || w.inUse() != 0 {
		t.Errorf("%+v %v, used %d times", info, ticket.ExpiresAt, w.inUse())
	}
	a := w.attach(t, info.ID, ticket.Secret)
	if w.inUse() != 1 {
		t.Error("a connection does not use the runspace")
	}
	types(t, a, "one ")
	shows(t, a, "ONE ")
	if _, err := w.Attach(t.Context(), string(info.ID), ticket.Secret); remuda.CodeOf(err) != remuda.CodeUnauthenticated {
		t.Errorf("a used ticket: %v", err)
	}
	if err := a.Resize(50, 100); err != nil {
		t.Error(err)
	}
	if err := a.Resize(0, 100); remuda.CodeOf(err) != remuda.CodeInvalid {
		t.Errorf("no rows: %v", err)
	}
	// A second connection takes over, and sees what was shown.
	b := w.attach(t, info.ID, a.Resume)
	if _, err := a.Next(t.Context()); remuda.CodeOf(err) != remuda.CodeConflict {
		t.Errorf("what was taken over: %v", err)
	}
	if err := a.Write(t.Context(), []byte("x")); remuda.CodeOf(err) != remuda.CodeConflict {
		t.Errorf("what was taken over is typed into: %v", err)
	}
	if b.Terminal.Rows != 50 || b.Terminal.Cols != 100 || !b.Terminal.Attached || w.inUse() != 1 {
		t.Errorf("%+v, used %d times", b.Terminal, w.inUse())
	}
	shows(t, b, "ONE ")
	b.Close()
	if w.inUse() != 0 {
		t.Error("a connection that has ended uses the runspace")
	}
	c := w.attach(t, info.ID, b.Resume)
	shows(t, c, "ONE ")
	types(t, c, "e")
	for {
		if _, err := c.Next(t.Context()); err != nil {
			if !errors.Is(err, io.EOF) || c.ExitCode() != 3 {
				t.Errorf("its end is %v with %d", err, c.ExitCode())
			}
			break
		}
	}
	if err := c.Write(t.Context(), []byte("x")); !errors.Is(err, terminals.ErrOver) {
		t.Errorf("what has ended is written to: %v", err)
	}
	got, err := w.GetTerminal(t.Context(), operator, string(info.ID))
	if err != nil || got.ExitCode == nil || *got.ExitCode != 3 || got.EndedAt == nil {
		t.Errorf("%+v %v", got, err)
	}
	// Its last words can be read.
	d := w.attach(t, info.ID, c.Resume)
	shows(t, d, "ONE ")
}

func TestTenancy(t *testing.T) {
	t.Parallel()
	w := open(t, terminals.Settings{})
	info, _ := w.terminal(t)
	reader := principal("usr_r", remuda.RoleMonitor)
	stranger := operator
	stranger.Organization = "org_theirs"
	colleague := principal("usr_b", remuda.RoleOperator)
	alone := colleague
	alone.OwnOnly = true
	ref := string(info.ID)
	for name, c := range map[string]struct {
		p         remuda.Principal
		see, rule remuda.Code
	}{
		"the owner":                   {operator, "", ""},
		"a colleague":                 {colleague, "", ""},
		"a colleague at another door": {alone, remuda.CodeNotFound, remuda.CodeNotFound},
		"a reader":                    {reader, "", remuda.CodeForbidden},
		"a stranger":                  {stranger, remuda.CodeNotFound, remuda.CodeNotFound},
	} {
		if _, err := w.GetTerminal(t.Context(), c.p, ref); remuda.CodeOf(err) != c.see {
			t.Errorf("%s gets %v", name, err)
		}
		if _, err := w.Ticket(t.Context(), c.p, ref); remuda.CodeOf(err) != c.rule {
			t.Errorf("%s gets a ticket: %v", name, err)
		}
		if c.rule != "" {
			if err := w.CloseTerminal(t.Context(), c.p, ref); remuda.CodeOf(err) != c.rule {
				t.Errorf("%s closes it: %v", name, err)
			}
		}
		list, err := w.ListTerminals(t.Context(), c.p, "")
		if err != nil || (len(list) == 1) != (c.see == "") {
			t.Errorf("%s lists %v %v", name, list, err)
		}
	}
	if _, _, err := w.OpenTerminal(t.Context(), reader, remuda.TerminalRequest{Runspace: "rsp_1"}); remuda.CodeOf(err) != remuda.CodeForbidden {
		t.Errorf("a reader opens one: %v", err)
	}
	if _, err := w.ListTerminals(t.Context(), operator, "rsp_2"); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Errorf("of no runspace: %v", err)
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	w := open(t, terminals.Settings{})
	for name, req := range map[string]remuda.TerminalRequest{
		"rows":    {Rows: 1001, Cols: 80},
		"cols":    {Rows: 24, Cols: -1},
		"command": {Command: make([]string, 65)},
		"long":    {Command: []string{strings.Repeat("x", 9000)}},
		"empty":   {Command: []string{""}},
		"env":     {Env: map[string]string{"A=": "x"}},
	} {
		req.Runspace = "rsp_1"
		if _, _, err := w.OpenTerminal(t.Context(), operator, req); remuda.CodeOf(err) != remuda.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	var all []remuda.Terminal
	for range 4 {
		info, _ := w.terminal(t)
		all = append(all, info)
	}
	_, _, err := w.OpenTerminal(t.Context(), operator, remuda.TerminalRequest{Runspace: "rsp_1"})
	if remuda.CodeOf(err) != remuda.CodeExhausted || remuda.ReasonOf(err) != remuda.ReasonTooManyTerminals {
		t.Errorf("a fifth: %v", err)
	}
	if err := w.CloseTerminal(t.Context(), operator, string(all[0].ID)); err != nil {
		t.Fatal(err)
	}
	w.terminal(t)
	w.inst.(*instance).fails = remuda.Errorf(remuda.CodeUnavailable, "the sandbox has ended")
	if err := w.CloseTerminal(t.Context(), operator, string(all[1].ID)); err != nil {
		t.Fatal(err)
	}
	for range 5 { // what fails is not counted
		if _, _, err := w.OpenTerminal(t.Context(), operator, remuda.TerminalRequest{Runspace: "rsp_1"}); remuda.CodeOf(err) != remuda.CodeUnavailable {
			t.Errorf("one that cannot be opened: %v", err)
		}
	}
	w.inst = nil
	if _, _, err := w.OpenTerminal(t.Context(), operator, remuda.TerminalRequest{Runspace: "rsp_1"}); remuda.CodeOf(err) != remuda.CodeUnsupported {
		t.Errorf("where there are none: %v", err)
	}
}

func TestAliases(t *testing.T) {
	t.Parallel()
	w := open(t, terminals.Settings{})
	req := remuda.TerminalRequest{Runspace: "rsp_1", Alias: "wc0123456789ab"}
	_, ticket, err := w.OpenTerminal(t.Context(), operator, req)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := w.GetTerminal(t.Context(), operator, req.Alias); err != nil || got.Alias != req.Alias {
		t.Errorf("%+v %v", got, err)
	}
	w.attach(t, "wc0123456789ab", ticket.Secret)
	if _, _, err := w.OpenTerminal(t.Context(), operator, req); remuda.CodeOf(err) != remuda.CodeConflict {
		t.Errorf("a name that is taken: %v", err)
	}
	if list, err := w.ListTerminals(t.Context(), operator, "rsp_1"); err != nil || len(list) != 1 {
		t.Errorf("%v %v", list, err)
	}
}

func TestForgets(t *testing.T) {
	t.Parallel()
	w := open(t, terminals.Settings{Sweep: time.Millisecond, KeepEnded: time.Millisecond})
	info, _ := w.terminal(t)
	w.inst.(*instance).opened[0].end()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if _, err := w.GetTerminal(t.Context(), operator, string(info.ID)); remuda.CodeOf(err) == remuda.CodeNotFound {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("what has ended is never forgotten")
		}
	}
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	if _, _, err := w.OpenTerminal(t.Context(), operator, remuda.TerminalRequest{Runspace: "rsp_1"}); remuda.CodeOf(err) != remuda.CodeConflict {
		t.Errorf("in what has ended: %v", err)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	w := open(t, terminals.Settings{})
	info, ticket := w.terminal(t)
	a := w.attach(t, info.ID, ticket.Secret)
	if err := w.Service.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Next(t.Context()); remuda.CodeOf(err) != remuda.CodeUnavailable {
		t.Errorf("the connection ends with %v", err)
	}
	if _, _, err := w.OpenTerminal(t.Context(), operator, remuda.TerminalRequest{Runspace: "rsp_1"}); remuda.CodeOf(err) != remuda.CodeUnavailable {
		t.Errorf("a terminal of a server that ends: %v", err)
	}
	if _, err := w.Attach(t.Context(), string(info.ID), a.Resume); remuda.CodeOf(err) != remuda.CodeUnavailable {
		t.Errorf("a connection to it: %v", err)
	}
}

// TestStuck has a program that does not end: it does not keep the server for longer
// than the server waits.
func TestStuck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(noStore{}, terminals.Settings{})
		w.terminal(t)
		p := w.inst.(*instance).opened[0]
		p.stuck = make(chan struct{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.Service.Close(ctx); remuda.CodeOf(err) != remuda.CodeDeadline {
			t.Errorf("with a program that does not end: %v", err)
		}
		close(p.stuck)
		if err := w.Service.Close(t.Context()); err != nil {
			t.Errorf("once it has ended: %v", err)
		}
	})
}

// TestCloseOfStuck closes a terminal whose program does not end: it is told of and can be
// looked at and closed again.
func TestCloseOfStuck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(noStore{}, terminals.Settings{})
		info, _ := w.terminal(t)
		p := w.inst.(*instance).opened[0]
		p.stuck = make(chan struct{})
		if err := w.CloseTerminal(t.Context(), operator, string(info.ID)); remuda.CodeOf(err) != remuda.CodeDeadline {
			t.Errorf("with a program that does not end: %v", err)
		}
		if got, err := w.GetTerminal(t.Context(), operator, string(info.ID)); err != nil || got.EndedAt != nil {
			t.Errorf("then it is %+v, %v", got, err)
		}
		close(p.stuck)
		if err := w.CloseTerminal(t.Context(), operator, string(info.ID)); err != nil {
			t.Errorf("once it can end: %v", err)
		}
		if _, err := w.GetTerminal(t.Context(), operator, string(info.ID)); remuda.CodeOf(err) != remuda.CodeNotFound {
			t.Errorf("then it is known: %v", err)
		}
		if err := w.Service.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestLagging has a connection that does not read: the program waits for it, and
// nobody waits for one that is gone.
func TestLagging(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(noStore{}, terminals.Settings{Scrollback: 200 << 10})
		info, ticket := w.terminal(t)
		a := w.attach(t, info.ID, ticket.Secret)
		p := w.inst.(*instance).opened[0]
		const line = "0123456789012345678901234567890\n" // 32 bytes
		written := make(chan int, 1)
		go func() {
			n := 0
			for range 1 << 15 { // a MiB
				c, err := p.far.Write([]byte(line))
				if n += c; err != nil {
					break
				}
			}
			written <- n
		}()
		synctest.Wait()
		select {
		case n := <-written:
			t.Fatalf("nobody reads, and %d bytes are written", n)
		default:
		}
		got, err := a.Next(t.Context())
		if err != nil || !strings.HasPrefix(string(got), line) {
			t.Fatalf("%q %v", got, err)
		}
		synctest.Wait()
		a.Close()
		if n := <-written; n != 1<<20 {
			t.Errorf("%d bytes were written", n)
		}
		synctest.Wait()
		b := w.attach(t, info.ID, a.Resume)
		if b.Skipped < 800<<10 || b.Skipped%32 != 0 {
			t.Errorf("%d bytes are skipped", b.Skipped)
		}
		kept := 0
		for kept < 1<<20-int(b.Skipped) {
			got, err := b.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if kept == 0 && !strings.HasPrefix(string(got), line) {
				t.Errorf("it begins with %q", got[:32])
			}
			kept += len(got)
		}
		b.Close()
		if err := w.Service.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
