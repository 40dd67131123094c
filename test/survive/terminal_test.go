package survive

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/remuda-run/remuda/client"
)

// TestTerminals has a terminal end with its server, and opens one in a runspace that
// another server was the first to open.
func TestTerminals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 1)
	before := w.terminal(0)
	_, conn := w.connect(0)
	w.Kill()
	_ = conn.Close()
	w.up()
	if problem := w.Refuse(http.MethodGet, "/v1/terminals/"+before, nil); problem.Status != http.StatusNotFound {
		t.Errorf("a terminal of an earlier server: %v", problem)
	}
	for i := range w.spaces {
		id, conn := w.connect(i)
		var shown []byte
		p := make([]byte, 4096)
		if err := conn.Write(t.Context(), []byte("6*7\r")); err != nil {
			t.Fatal(err)
		}
		for !bytes.Contains(shown, []byte("42\r\n")) {
			n, err := conn.Read(t.Context(), p)
			if err != nil {
				t.Fatalf("runspace %d shows %q: %v", i, shown, err)
			}
			shown = append(shown, p[:n]...)
		}
		w.Call(http.MethodDelete, "/v1/terminals/"+id, nil, nil)
		if err := conn.Close(); err != nil {
			t.Logf("the server was first: %v", err)
		}
	}
	w.finish()
	w.remember()
	w.close()
	w.Down()
	w.Untouched()
}

// terminal opens one in a runspace.
func (w *world) terminal(i int) string {
	w.t.Helper()
	var opened client.TerminalCreated
	w.Call(http.MethodPost, "/v1/runspaces/"+w.spaces[i].id+"/terminals", nil, &opened)
	return opened.Terminal.Id
}

// connect opens one and connects to it.
func (w *world) connect(i int) (string, *client.TerminalConn) {
	w.t.Helper()
	id := w.terminal(i)
	c, err := client.New(w.Base, w.Token)
	if err != nil {
		w.t.Fatal(err)
	}
	ticket, err := c.CreateTerminalTicket(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	conn, err := c.ConnectTerminal(w.t.Context(), id, ticket.Ticket, 24, 80)
	if err != nil {
		w.t.Fatal(err)
	}
	return id, conn
}
