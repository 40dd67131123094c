package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/coder/websocket"
)

// streamProtocol names the messages of a stream, and their version.
const streamProtocol = "remuda.executions.v1"

// maxAnswer bounds one answer of a stream.
const maxAnswer = 64 << 20

// Stream runs scripts in one runspace over one connection. One goroutine may
// call Send while another calls Receive: requests may be sent ahead, their answers
// come in the same order.
type Stream struct {
	conn *websocket.Conn
}

// OpenStream opens a stream to a runspace (id). Close it when done.
func (c *Client) OpenStream(ctx context.Context, runspace string) (*Stream, error) {
	h := http.Header{"User-Agent": {c.agent}}
	if c.token != "" {
		h.Set("Authorization", "Bearer "+c.token)
	}
	conn, answer, err := websocket.Dial(ctx, c.base+at("runspaces", runspace, "stream"), &websocket.DialOptions{
		HTTPClient: c.http, HTTPHeader: h, Subprotocols: []string{streamProtocol}, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		if answer != nil && answer.StatusCode >= http.StatusBadRequest {
			return nil, problemOf(answer)
		}
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	conn.SetReadLimit(maxAnswer)
	return &Stream{conn: conn}, nil
}

// Send asks for an execution. It blocks while the server has as many requests
// waiting as it takes.
func (s *Stream) Send(ctx context.Context, in RunspaceExecutionCreate) error {
	data, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode a request: %w", err)
	}
	return s.conn.Write(ctx, websocket.MessageText, data)
}

// Receive returns the end state of the execution that was asked for first and not
// received yet. The error is a *Problem when the server refused that request; the
// stream goes on then.
func (s *Stream) Receive(ctx context.Context) (Execution, error) {
	_, data, err := s.conn.Read(ctx)
	if err != nil {
		return Execution{}, fmt.Errorf("the stream ended: %w", err)
	}
	var answer struct {
		Execution
		Status int `json:"status"` // of a problem only
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return Execution{}, fmt.Errorf("decode an answer: %w", err)
	}
	if answer.Status == 0 {
		return answer.Execution, nil
	}
	var p Problem
	if err := json.Unmarshal(data, &p.Problem); err != nil {
		return Execution{}, fmt.Errorf("decode a problem: %w", err)
	}
	return Execution{}, &p
}

// Close ends the stream. What runs goes on to its end.
func (s *Stream) Close() error {
	err := s.conn.Close(websocket.StatusNormalClosure, "")
	if errors.As(err, new(websocket.CloseError)) {
		return nil // the server was first
	}
	return err
}
