package native_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/remuda-run/remuda/client"
)

// shows reads until text has come, and returns all that came.
func shows(t *testing.T, c *client.TerminalConn, text string) string {
	t.Helper()
	var all strings.Builder
	p := make([]byte, 256)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !strings.Contains(all.String(), text) {
		n, err := c.Read(ctx, p)
		if err != nil {
			t.Fatalf("after %q, without %q: %v", all.String(), text, err)
		}
		all.Write(p[:n])
	}
	return all.String()
}

func types(t *testing.T, c *client.TerminalConn, text string) {
	t.Helper()
	if err := c.Write(t.Context(), []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func connected(t *testing.T, c *client.Client, id, ticket string, rows, cols int) *client.TerminalConn {
	t.Helper()
	conn, err := c.ConnectTerminal(t.Context(), id, ticket, rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestTerminalConnection(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c, rs := h.streaming(t, h.token(t, "write"))
	nobody := h.plain(t, "") // a ticket is enough
	opened := must[client.TerminalCreated](t)(c.OpenTerminal(t.Context(), rs.Id, client.TerminalCreate{}))
	id := opened.Terminal.Id
	a := connected(t, nobody, id, opened.Ticket, 50, 132)
	shows(t, a, "[24x80]\r\n[50x132]\r\n")
	types(t, a, "six times seven")
	shows(t, a, "SIX TIMES SEVEN")
	if err := a.Resize(t.Context(), 10, 20); err != nil {
		t.Fatal(err)
	}
	shows(t, a, "[10x20]")
	if err := a.Resize(t.Context(), 0, 20); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Read(t.Context(), make([]byte, 1)); !client.IsCode(err, "invalid") {
		t.Errorf("a size that is none: %v", err)
	}
	if _, err := nobody.ConnectTerminal(t.Context(), id, opened.Ticket, 0, 0); !client.IsCode(err, "unauthenticated") {
		t.Errorf("a ticket that was used: %v", err)
	}
	got := must[client.Terminal](t)(c.GetTerminal(t.Context(), id))
	if !got.Attached || got.Rows != 10 || got.ExitCode != nil {
		t.Errorf("%+v", got)
	}
	// The next connection takes over and has seen it all.
	b := connected(t, nobody, id, a.Resume, 0, 0)
	if all := shows(t, b, "[10x20]"); !strings.Contains(all, "SIX TIMES SEVEN") || b.Skipped != 0 {
		t.Errorf("it shows %q", all)
	}
	if _, err := a.Read(t.Context(), make([]byte, 1)); !client.IsCode(err, "conflict") {
		t.Errorf("what was taken over: %v", err)
	}
	types(t, b, "\rexit 7\r")
	for {
		_, err := b.Read(t.Context(), make([]byte, 256))
		if err == nil {
			continue
		}
		if exit, ok := errors.AsType[*client.ExitError](err); !ok || exit.Code != 7 {
			t.Errorf("it ends with %v", err)
		}
		break
	}
	if list := must[client.TerminalList](t)(c.ListTerminals(t.Context(), rs.Id)); len(list.Items) != 1 || list.Items[0].ExitCode == nil || *list.Items[0].ExitCode != 7 {
		t.Errorf("%+v", list)
	}
	if err := c.CloseTerminal(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetTerminal(t.Context(), id); !client.IsCode(err, "not_found") {
		t.Errorf("what is closed: %v", err)
	}
}

// TestTerminalRights has connections that are refused, or lose their right.
func TestTerminalRights(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	token := h.token(t, "write")
	c, rs := h.streaming(t, token)
	reader := h.plain(t, h.token(t, "read").Token)
	if _, err := reader.OpenTerminal(t.Context(), rs.Id, client.TerminalCreate{}); !client.IsCode(err, "forbidden") {
		t.Errorf("a reader opens one: %v", err)
	}
	opened := must[client.TerminalCreated](t)(c.OpenTerminal(t.Context(), rs.Id, client.TerminalCreate{}))
	id := opened.Terminal.Id
	if _, err := reader.CreateTerminalTicket(t.Context(), id); !client.IsCode(err, "forbidden") {
		t.Errorf("a reader gets a ticket: %v", err)
	}
	if _, err := c.OpenTerminal(t.Context(), "rs_none", client.TerminalCreate{}); !client.IsCode(err, "not_found") {
		t.Errorf("in no runspace: %v", err)
	}
	// A page of another origin.
	url := h.url + "/v1/terminals/" + id + "/connection"
	_, answer, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{
		HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}}, Subprotocols: []string{"remuda.terminal.v1"},
	})
	if err == nil || answer == nil || answer.StatusCode != http.StatusForbidden {
		t.Errorf("another origin: %v, %v", answer, err)
	}
	for name, message := range map[string]string{
		"nothing": "", "no ticket": `{"type":"open"}`, "resize first": `{"type":"resize","rows":1,"cols":1}`, "unknown": `{"type":"open","token":"x"}`,
	} {
		conn, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: []string{"remuda.terminal.v1"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
		_, data, err := conn.Read(t.Context())
		if err != nil || !strings.Contains(string(data), `"type":"problem"`) {
			t.Errorf("%s: %q, %v", name, data, err)
		}
		if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("%s: it ends with %v", name, err)
		}
		_ = conn.CloseNow()
	}
	a := connected(t, c, id, opened.Ticket, 0, 0)
	shows(t, a, "[24x80]")
	if err := h.login(t, "admin", "the admin's password", "write").RevokeToken(t.Context(), token.Id); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := a.Read(ctx, make([]byte, 1)); !client.IsCode(err, "unauthenticated") {
		t.Errorf("with a token that is revoked: %v", err)
	}
	if _, err := c.ConnectTerminal(t.Context(), id, a.Resume, 0, 0); !client.IsCode(err, "unauthenticated") {
		t.Errorf("once more: %v", err)
	}
}

// TestTerminalFrames sends frames that no client may send: the fault is the client's.
func TestTerminalFrames(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	host := strings.TrimPrefix(h.url, "http://")
	for name, frame := range map[string]string{"unmasked": "\x81\x02{}", "a length without bounds": "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		conn := must[net.Conn](t)(new(net.Dialer).DialContext(t.Context(), "tcp", host))
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		_, err := io.WriteString(conn, "GET /v1/terminals/trm_1/connection HTTP/1.1\r\nHost: "+host+"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: remuda.terminal.v1\r\n\r\n"+frame)
		if err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(conn)
		if !bytes.HasPrefix(said, []byte("HTTP/1.1 101 ")) || !bytes.Contains(said, []byte(`"code":"invalid"`)) {
			t.Errorf("%s: %q, %v", name, said, err)
		}
	}
}
