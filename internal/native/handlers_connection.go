package native

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/terminals"
)

// terminalProtocol names the messages of a connection to a terminal, and their
// version.
const terminalProtocol = "remuda.terminal.v1"

const (
	terminalLimit = 64 << 10 // bytes of a message from the client
	// maxStrangers is how many connections may be open that have shown no ticket,
	// and strangerPatience how long each may be.
	maxStrangers     = 64
	strangerPatience = 10 * time.Second
)

// terminalConn is one connection to a terminal. Three goroutines share the work:
// one reads what is typed, one asks whether the client is there, and this one
// writes what is shown.
type terminalConn struct {
	edge    *edge
	conn    *websocket.Conn
	ref     string
	request string
	typing  atomic.Bool // what was typed waits for the program
	a       *terminals.Attachment
}

// terminalWord is a text message of either side. Which fields it has depends on
// its type.
type terminalWord struct {
	Type     string           `json:"type"`
	Ticket   string           `json:"ticket,omitempty"`   // open
	Rows     int              `json:"rows,omitempty"`     // open, resize
	Cols     int              `json:"cols,omitempty"`     //
	Terminal string           `json:"terminal,omitempty"` // opened
	Resume   string           `json:"resume,omitempty"`   //
	Skipped  *int64           `json:"skipped,omitempty"`  //
	Kept     *int64           `json:"kept,omitempty"`     //
	Code     *int             `json:"code,omitempty"`     // exit
	Problem  *httpapi.Problem `json:"problem,omitempty"`  // problem
}

// Types of messages.
const (
	wordOpen    = "open"
	wordOpened  = "opened"
	wordResize  = "resize"
	wordExit    = "exit"
	wordProblem = "problem"
)

// decodeWord reads a text message of a client.
func decodeWord(data []byte) (terminalWord, error) {
	var w terminalWord
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err := dec.Decode(&w)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows the object")
		}
	}
	if err != nil {
		return w, remuda.Invalid(remuda.FieldError{Field: "message", Message: "must be one JSON object with known fields"})
	}
	switch {
	case w.Type != wordOpen && w.Type != wordResize:
		return w, remuda.Invalid(remuda.FieldError{Field: "type", Message: "must be open or resize"})
	case w.Terminal != "" || w.Resume != "" || w.Skipped != nil || w.Kept != nil || w.Code != nil || w.Problem != nil || w.Type == wordResize && w.Ticket != "":
		return w, remuda.Invalid(remuda.FieldError{Field: "message", Message: "has fields that are not of its type"})
	}
	return w, nil
}

// serveTerminal returns once the connection is closed. known is called as soon as
// it has shown a ticket, or has ended without.
func serveTerminal(ctx context.Context, c *terminalConn, known func()) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	known = sync.OnceFunc(known)
	defer known()
	first, err := c.open(ctx)
	known()
	if err != nil {
		c.refuse(ctx, err)
		return
	}
	defer c.a.Close()
	var parts sync.WaitGroup
	parts.Go(func() { c.read(ctx, cancel) })
	// While what was typed waits for the program nobody reads the client's answers.
	parts.Go(func() { httpapi.WatchClient(ctx, c.conn, c.typing.Load, cancel) })
	code, reason := c.show(ctx, first)
	_ = c.conn.Close(code, reason) // ends read
	cancel()
	parts.Wait()
}

// open waits for the ticket and connects.
func (c *terminalConn) open(ctx context.Context) (terminalWord, error) {
	asked, cancel := context.WithTimeout(ctx, strangerPatience)
	defer cancel()
	kind, data, err := c.conn.Read(asked)
	if err != nil && websocket.CloseStatus(err) == -1 && asked.Err() == nil { // a frame that is none, or nobody is there any more
		err = remuda.Invalid(remuda.FieldError{Field: "message", Message: "cannot be read: " + err.Error()})
	}
	if err != nil {
		return terminalWord{}, err
	}
	if kind != websocket.MessageText {
		data = nil
	}
	w, err := decodeWord(data)
	if err == nil && w.Type != wordOpen {
		err = remuda.Invalid(remuda.FieldError{Field: "type", Message: "must be open in the first message"})
	}
	if err != nil {
		return w, err
	}
	if c.a, err = c.edge.Terminals.Attach(ctx, c.ref, w.Ticket); err != nil {
		return w, err
	}
	if w.Rows != 0 || w.Cols != 0 {
		if err := c.a.Resize(w.Rows, w.Cols); err != nil {
			c.a.Close()
			return w, err
		}
	}
	return terminalWord{Type: wordOpened, Terminal: string(c.a.Terminal.ID), Resume: c.a.Resume, Skipped: &c.a.Skipped, Kept: &c.a.Kept}, nil
}

// refuse says why there is no connection, or why it ends.
func (c *terminalConn) refuse(ctx context.Context, err error) {
	if websocket.CloseStatus(err) == -1 && ctx.Err() == nil {
		_ = c.say(ctx, terminalWord{Type: wordProblem, Problem: c.problem(err)})
	}
	_ = c.conn.Close(websocket.StatusPolicyViolation, "")
}

func (c *terminalConn) problem(err error) *httpapi.Problem {
	problem := httpapi.NewProblem(err, c.request)
	return &problem
}

// show writes what the program shows, and says how to close the connection.
func (c *terminalConn) show(ctx context.Context, first terminalWord) (websocket.StatusCode, string) {
	if c.say(ctx, first) != nil {
		return websocket.StatusPolicyViolation, "what was shown was not taken"
	}
	for {
		data, err := c.a.Next(ctx)
		switch {
		case err == nil:
			if c.write(ctx, websocket.MessageBinary, data) != nil {
				return websocket.StatusPolicyViolation, "what was shown was not taken"
			}
		case errors.Is(err, io.EOF):
			code := c.a.ExitCode()
			_ = c.say(ctx, terminalWord{Type: wordExit, Code: &code})
			return websocket.StatusNormalClosure, ""
		case ctx.Err() != nil:
			return websocket.StatusNormalClosure, ""
		default: // taken over, or the right is gone, or the server ends
			_ = c.say(ctx, terminalWord{Type: wordProblem, Problem: c.problem(err)})
			if remuda.CodeOf(err) == remuda.CodeUnavailable {
				return websocket.StatusGoingAway, "the server is shutting down"
			}
			return websocket.StatusPolicyViolation, ""
		}
	}
}

// read takes what is typed.
func (c *terminalConn) read(ctx context.Context, end context.CancelFunc) {
	defer end()
	for {
		kind, data, err := c.conn.Read(ctx)
		if err != nil {
			return
		}
		if kind == websocket.MessageBinary {
			c.typing.Store(true)
			err = c.a.Write(ctx, data)
			c.typing.Store(false)
		} else {
			var w terminalWord
			if w, err = decodeWord(data); err == nil && w.Type == wordResize {
				err = c.a.Resize(w.Rows, w.Cols)
			} else if err == nil {
				err = remuda.Invalid(remuda.FieldError{Field: "type", Message: "must be resize; the terminal is open"})
			}
			if err != nil && c.say(ctx, terminalWord{Type: wordProblem, Problem: c.problem(err)}) == nil {
				err = nil // one message was wrong, the connection is not
			}
		}
		if err != nil && !errors.Is(err, terminals.ErrOver) {
			return
		}
	}
}

func (c *terminalConn) say(ctx context.Context, w terminalWord) error {
	data, err := encode(w)
	if err != nil {
		return err
	}
	return c.write(ctx, websocket.MessageText, data)
}

func (c *terminalConn) write(ctx context.Context, kind websocket.MessageType, data []byte) error {
	return httpapi.WriteMessage(ctx, c.conn, kind, data)
}
