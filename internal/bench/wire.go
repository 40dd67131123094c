package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// wire is a small HTTP client for what is measured: one write and one read for
// a request, on a connection that is kept. net/http's hands each request through
// three goroutines, whose wake-ups would be counted as the server's.
type wire struct {
	addr        string
	credentials string // the line of the header that says who asks

	mu   sync.Mutex
	idle []*wireConn
}

type wireConn struct {
	net.Conn
	r *bufio.Reader
}

// request is a POST as it goes over the connection.
func (w *wire) request(path string, body any) ([]byte, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return append(w.head("POST "+path, "Content-Type: application/json", "Content-Length: "+strconv.Itoa(len(raw))), raw...), nil
}

// get is a GET as it goes over the connection.
func (w *wire) get(path string) []byte { return w.head("GET " + path) }

func (w *wire) head(what string, more ...string) []byte {
	lines := append([]string{what + " HTTP/1.1", "Host: " + w.addr, w.credentials}, more...)
	return []byte(strings.Join(append(lines, "", ""), "\r\n"))
}

// send sends a request and returns the body of its answer.
func (w *wire) send(ctx context.Context, request []byte) ([]byte, error) {
	c, err := w.take(ctx)
	if err != nil {
		return nil, err
	}
	status, body, err := c.exchange(request)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	w.mu.Lock()
	w.idle = append(w.idle, c)
	w.mu.Unlock()
	if status >= http.StatusBadRequest {
		return nil, fmt.Errorf("the server answered %d: %s", status, title(body))
	}
	return body, nil
}

// ask sends a request and decodes its answer.
func (w *wire) ask(ctx context.Context, request []byte, out any) error {
	raw, err := w.send(ctx, request)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("decode the answer: %w", err)
	}
	return nil
}

func (w *wire) take(ctx context.Context) (*wireConn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.idle); n > 0 {
		c := w.idle[n-1]
		w.idle = w.idle[:n-1]
		return c, nil
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", w.addr)
	if err != nil {
		return nil, fmt.Errorf("connect to the server: %w", err)
	}
	return &wireConn{Conn: conn, r: bufio.NewReader(conn)}, nil
}

func (c *wireConn) exchange(request []byte) (status int, body []byte, err error) {
	if err := c.SetDeadline(time.Now().Add(90 * time.Second)); err != nil {
		return 0, nil, err
	}
	if _, err := c.Write(request); err != nil {
		return 0, nil, fmt.Errorf("send request: %w", err)
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("read answer: %w", err)
	}
	defer resp.Body.Close()
	if resp.Close {
		return 0, nil, errors.New("the server closes the connection after its answer")
	}
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// close ends the connections that are idle, which are all when nothing runs.
func (w *wire) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.idle {
		_ = c.Close()
	}
	w.idle = nil
}
