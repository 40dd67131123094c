package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/coder/websocket"

	"github.com/remuda-run/remuda/api"
)

// terminalProtocol names the messages of a connection to a terminal, and their
// version.
const terminalProtocol = "remuda.terminal.v1"

// maxShown bounds what a terminal shows in one message.
const maxShown = 1 << 20

// OpenTerminal starts a program with a terminal of its own in a runspace. Its
// ticket is for the first connection.
func (c *Client) OpenTerminal(ctx context.Context, runspace string, in TerminalCreate) (TerminalCreated, error) {
	return call[TerminalCreated](ctx, c, http.MethodPost, at("runspaces", runspace, "terminals"), nil, in)
}

// ListTerminals lists the terminals of a runspace, oldest first.
func (c *Client) ListTerminals(ctx context.Context, runspace string) (TerminalList, error) {
	return call[TerminalList](ctx, c, http.MethodGet, at("runspaces", runspace, "terminals"), nil, nil)
}

// GetTerminal returns a terminal.
func (c *Client) GetTerminal(ctx context.Context, id string) (Terminal, error) {
	return call[Terminal](ctx, c, http.MethodGet, at("terminals", id), nil, nil)
}

// CloseTerminal ends a terminal's program and its session.
func (c *Client) CloseTerminal(ctx context.Context, id string) error {
	return c.remove(ctx, at("terminals", id))
}

// CreateTerminalTicket returns a ticket for one more connection to a terminal.
func (c *Client) CreateTerminalTicket(ctx context.Context, id string) (TerminalTicket, error) {
	return call[TerminalTicket](ctx, c, http.MethodPost, at("terminals", id, "tickets"), nil, nil)
}

// TerminalConn is a connection to a terminal. One goroutine may read while another
// writes and a third resizes.
type TerminalConn struct {
	// Resume is the ticket for the next connection: good while this one lives and
	// for 30 seconds after.
	Resume string
	// Skipped is how many bytes were shown before the first that can be read.
	Skipped int64

	conn *websocket.Conn
	rest []byte
}

// ExitError says that a terminal's program has ended.
type ExitError struct{ Code int }

// Error implements error.
func (e *ExitError) Error() string {
	return fmt.Sprintf("the terminal's program exited with %d", e.Code)
}

// terminalWord is a text message.
type terminalWord struct {
	Type    string       `json:"type"`
	Ticket  string       `json:"ticket,omitempty"`
	Rows    int          `json:"rows,omitempty"`
	Cols    int          `json:"cols,omitempty"`
	Resume  string       `json:"resume,omitempty"`
	Skipped int64        `json:"skipped,omitempty"`
	Code    int          `json:"code,omitempty"`
	Problem *api.Problem `json:"problem,omitempty"`
}

// ConnectTerminal connects to a terminal with a ticket, which is used up. With
// rows and cols other than 0 the terminal gets that size.
func (c *Client) ConnectTerminal(ctx context.Context, id, ticket string, rows, cols int) (*TerminalConn, error) {
	conn, answer, err := websocket.Dial(ctx, c.base+at("terminals", id, "connection"), &websocket.DialOptions{
		HTTPClient: c.http, HTTPHeader: http.Header{"User-Agent": {c.agent}}, Subprotocols: []string{terminalProtocol}, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		if answer != nil && answer.StatusCode >= http.StatusBadRequest {
			return nil, problemOf(answer)
		}
		return nil, fmt.Errorf("connect to a terminal: %w", err)
	}
	conn.SetReadLimit(maxShown)
	t := &TerminalConn{conn: conn}
	if err := t.say(ctx, terminalWord{Type: "open", Ticket: ticket, Rows: rows, Cols: cols}); err != nil {
		return nil, errors.Join(err, conn.CloseNow())
	}
	kind, data, err := conn.Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to a terminal: %w", err)
	}
	word, err := t.hear(kind, data)
	if err == nil && word.Type != "opened" {
		err = fmt.Errorf("connect to a terminal: the server says %q", data)
	}
	if err != nil {
		return nil, errors.Join(err, ignoreClosed(conn.Close(websocket.StatusNormalClosure, "")))
	}
	t.Resume, t.Skipped = word.Resume, word.Skipped
	return t, nil
}

// hear decodes a text message; a problem is the error.
func (t *TerminalConn) hear(kind websocket.MessageType, data []byte) (terminalWord, error) {
	var word terminalWord
	if kind != websocket.MessageText {
		return word, errors.New("the terminal's server does not speak " + terminalProtocol)
	}
	if err := json.Unmarshal(data, &word); err != nil {
		return word, fmt.Errorf("decode a message of a terminal: %w", err)
	}
	if word.Type == "problem" && word.Problem != nil {
		return word, &Problem{Problem: *word.Problem}
	}
	return word, nil
}

func (t *TerminalConn) say(ctx context.Context, word terminalWord) error {
	data, err := json.Marshal(word)
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	return t.conn.Write(ctx, websocket.MessageText, data)
}

// Read waits for what the terminal shows. The error is an *ExitError when the
// program has ended, a *Problem when the server ends the connection.
func (t *TerminalConn) Read(ctx context.Context, p []byte) (int, error) {
	for len(t.rest) == 0 {
		kind, data, err := t.conn.Read(ctx)
		if err != nil {
			if errors.Is(err, io.EOF) || websocket.CloseStatus(err) != -1 {
				return 0, fmt.Errorf("the connection to the terminal ended: %w", err)
			}
			return 0, err
		}
		if kind == websocket.MessageBinary {
			t.rest = data
			continue
		}
		word, err := t.hear(kind, data)
		if err != nil {
			return 0, err
		}
		if word.Type == "exit" {
			return 0, &ExitError{Code: word.Code}
		}
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

// maxTyped bounds what is typed in one message.
const maxTyped = 32 << 10

// Write types p.
func (t *TerminalConn) Write(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		n := min(len(p), maxTyped)
		if err := t.conn.Write(ctx, websocket.MessageBinary, p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// Resize tells the program the size of its terminal.
func (t *TerminalConn) Resize(ctx context.Context, rows, cols int) error {
	return t.say(ctx, terminalWord{Type: "resize", Rows: rows, Cols: cols})
}

// Close ends the connection; the program runs on.
func (t *TerminalConn) Close() error {
	return ignoreClosed(t.conn.Close(websocket.StatusNormalClosure, ""))
}

// ignoreClosed is no error when the server was first.
func ignoreClosed(err error) error {
	if errors.As(err, new(websocket.CloseError)) {
		return nil
	}
	return err
}
