package httpapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Upgrade makes a WebSocket of the request. The client must offer the
// subprotocol, which names the form of the messages and its version. Messages
// from the client have at most limit bytes.
func Upgrade(w http.ResponseWriter, r *http.Request, subprotocol string, limit int64) (*websocket.Conn, error) {
	if !hasToken(r.Header.Values("Connection"), "upgrade") || !hasToken(r.Header.Values("Upgrade"), "websocket") {
		return nil, remuda.Invalid(remuda.FieldError{Field: "Upgrade", Message: "must be websocket, with Connection: Upgrade; this address speaks WebSocket over HTTP/1.1 only"})
	}
	if !hasToken(r.Header.Values("Sec-WebSocket-Protocol"), subprotocol) {
		return nil, remuda.Invalid(remuda.FieldError{Field: "Sec-WebSocket-Protocol", Message: "must offer " + subprotocol})
	}
	if x := exchangeOf(r.Context()); x.rc != nil { // the connection lives on without the deadlines of a request
		_ = x.rc.SetReadDeadline(time.Time{})
		_ = x.rc.SetWriteDeadline(time.Time{})
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{subprotocol}, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		// The answer has been written. What follows can only cut the connection.
		exchangeOf(r.Context()).err = err
		return nil, nil //nolint:nilnil,nilerr // there is nobody left to answer
	}
	conn.SetReadLimit(limit)
	return conn, nil
}

// How often the client of a WebSocket is asked whether it is there, and how long it may
// take to answer, or to accept a message.
const (
	socketPing     = 30 * time.Second
	socketPatience = 30 * time.Second
)

// WriteMessage sends a message to a client that may take half a minute to accept it.
func WriteMessage(ctx context.Context, conn *websocket.Conn, kind websocket.MessageType, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, socketPatience)
	defer cancel()
	return conn.Write(ctx, kind, data)
}

// WatchClient calls end when the client does not answer any more, and returns then or
// when ctx ends. While unread says that nobody reads what the client sends, its answers
// among them, a missing answer means nothing.
func WatchClient(ctx context.Context, conn *websocket.Conn, unread func() bool, end func()) {
	tick := time.NewTicker(socketPing)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asked, cancel := context.WithTimeout(ctx, socketPatience)
		err := conn.Ping(asked)
		cancel()
		if err != nil && (!errors.Is(err, context.DeadlineExceeded) || !unread()) {
			end()
			return
		}
	}
}

// hasToken reports whether a list of comma-separated words has the word.
func hasToken(values []string, word string) bool {
	return slices.ContainsFunc(values, func(v string) bool {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), word) {
				return true
			}
		}
		return false
	})
}
