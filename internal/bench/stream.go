package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// streamAhead is how many executions are outstanding when the rate is measured.
const streamAhead = 64

// streamPiece measures one connection that runs scripts in a runspace: first
// with one execution outstanding, then with many for a second.
func (m *measurement) streamPiece(ctx context.Context, path string) error {
	conn, err := m.server.openStream(ctx, path)
	if err != nil {
		m.stream.Missing, m.loops.stream.Missing = firstLine(err.Error()), firstLine(err.Error())
		return nil
	}
	defer func() { _ = conn.CloseNow() }()
	request := []byte(`{"script":"1+1"}`)
	for range 200 {
		start := time.Now()
		err := conn.Write(ctx, websocket.MessageText, request)
		if err == nil {
			_, err = streamAnswer(ctx, conn)
		}
		m.stream.add(time.Since(start), err)
		if err != nil {
			return nil // the connection is of no use any more; the row says so
		}
	}
	perSecond, err := streamRate(ctx, conn, request, time.Second)
	if err != nil {
		m.loops.stream.count(err)
		return nil
	}
	m.loops.stream.PerSecond = append(m.loops.stream.PerSecond, perSecond)
	return conn.Close(websocket.StatusNormalClosure, "")
}

func (s *server) openStream(ctx context.Context, path string) (*websocket.Conn, error) {
	conn, resp, err := websocket.Dial(ctx, s.base+path+"/stream", &websocket.DialOptions{
		HTTPClient:   s.http,
		HTTPHeader:   http.Header{"Authorization": {"Bearer " + s.token}},
		Subprotocols: []string{"remuda.executions.v1"},
	})
	if resp != nil && resp.StatusCode == http.StatusNotFound {
		return nil, errors.New("this server has no stream")
	}
	if err != nil {
		return nil, fmt.Errorf("open the stream: %w", err)
	}
	return conn, nil
}

// streamAnswer reads one end of an execution and checks that it succeeded.
func streamAnswer(ctx context.Context, conn *websocket.Conn) (execution, error) {
	_, raw, err := conn.Read(ctx)
	if err != nil {
		return execution{}, fmt.Errorf("read from the stream: %w", err)
	}
	var ex execution
	if err := json.Unmarshal(raw, &ex); err != nil || ex.State != "success" {
		return ex, fmt.Errorf("the stream answered %s", raw)
	}
	return ex, nil
}

// streamRate keeps streamAhead executions outstanding for a while and returns
// how many a second were answered. The last are waited for, but not counted.
func streamRate(ctx context.Context, conn *websocket.Conn, request []byte, while time.Duration) (float64, error) {
	tickets := make(chan struct{}, streamAhead)
	written := make(chan error, 1)
	start := time.Now()
	go func() {
		defer close(tickets)
		for time.Since(start) < while {
			tickets <- struct{}{}
			if err := conn.Write(ctx, websocket.MessageText, request); err != nil {
				written <- fmt.Errorf("write to the stream: %w", err)
				return
			}
		}
		written <- nil
	}()
	done := 0
	var failed error
	for range tickets {
		if failed != nil {
			continue // the writer must not be left waiting for room
		}
		if _, failed = streamAnswer(ctx, conn); failed != nil {
			_ = conn.CloseNow()
		} else if time.Since(start) <= while {
			done++
		}
	}
	return float64(done) / while.Seconds(), errors.Join(failed, <-written)
}
