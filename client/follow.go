package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/remuda-run/remuda/api"
)

const (
	// quiet is how long a stream may say nothing, not even a heartbeat (the
	// server sends one every 15 seconds), before it is taken for dead.
	quiet = 45 * time.Second
	// maxAttempts is how often in a row a stream is opened without getting a
	// single record.
	maxAttempts = 10
	firstPause  = 50 * time.Millisecond
	maxPause    = 5 * time.Second
	// maxEvent bounds one event; a record is far smaller.
	maxEvent = 32 << 20
)

// listener takes what a stream of events says, over as many connections as it takes.
type listener interface {
	// position is what a connection goes on after, and taken grows with all that has
	// been taken.
	position() int64
	taken() int64
	// begin says that a new connection goes on after position.
	begin()
	// take takes an event that is not the last one. An error of the caller's own is a
	// sinkError.
	take(event) error
}

// follow reads a stream that ends with an object.
func follow[End any](ctx context.Context, c *Client, path string, l listener) (End, error) {
	var none End
	pause, attempts := firstPause, 0
	for {
		before := l.taken()
		l.begin()
		end, err := followOnce[End](ctx, c, path, l)
		switch {
		case err == nil:
			return end, nil
		case ctx.Err() != nil:
			return none, ctx.Err()
		case !lost(err):
			return none, err
		case l.taken() > before:
			pause, attempts = firstPause, 0
			continue // there was progress: go on at once
		}
		if attempts++; attempts >= maxAttempts {
			return none, fmt.Errorf("%s after %d: no connection after %d attempts: %w", path, l.position(), attempts, err)
		}
		if err := sleep(ctx, max(pause, retryAfter(err))); err != nil {
			return none, err
		}
		pause = min(2*pause, maxPause)
	}
}

// sinkError tells an error of the caller from one of the connection.
type sinkError struct{ err error }

func (e *sinkError) Error() string { return e.err.Error() }
func (e *sinkError) Unwrap() error { return e.err }

// lost reports whether a new attempt may help.
func lost(err error) bool {
	if _, ok := errors.AsType[*sinkError](err); ok {
		return false
	}
	if p, ok := errors.AsType[*Problem](err); ok {
		return p.Status == http.StatusTooManyRequests || p.Status == http.StatusBadGateway || p.Status == http.StatusServiceUnavailable || p.Status == http.StatusGatewayTimeout
	}
	return true
}

func retryAfter(err error) time.Duration {
	if p, ok := errors.AsType[*Problem](err); ok {
		return min(p.RetryAfter, time.Minute)
	}
	return 0
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// followOnce reads one connection's worth of events.
func followOnce[End any](ctx context.Context, c *Client, path string, l listener) (end End, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	query := url.Values{"after": {strconv.FormatInt(l.position(), 10)}}
	r, err := c.request(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return end, &sinkError{err}
	}
	r.Header.Set("Accept", "text/event-stream")
	watch := time.AfterFunc(quiet, cancel)
	defer watch.Stop()
	resp, err := c.send(r)
	if err != nil {
		return end, err
	}
	defer resp.Body.Close()
	events := eventReader{r: bufio.NewReaderSize(resp.Body, 32<<10)}
	for {
		watch.Reset(quiet)
		ev, err := events.next()
		if err != nil {
			return end, err
		}
		watch.Stop() // whoever takes it may take its time
		switch ev.name {
		case "":
		case "end":
			if err := json.Unmarshal(ev.data, &end); err != nil {
				return end, fmt.Errorf("decode the end of a stream: %w", err)
			}
			return end, nil
		default:
			if err := l.take(ev); err != nil {
				return end, err
			}
		}
	}
}

// records takes numbered records, each once; other gets the other events.
type records struct {
	after int64
	sink  func(OutputRecord) error
	other func(name string, data []byte) error
}

func (r *records) position() int64 { return r.after }
func (r *records) taken() int64    { return r.after }
func (r *records) begin()          {}

func (r *records) take(ev event) error {
	if ev.name != "output" {
		if r.other == nil {
			return nil
		}
		if err := r.other(ev.name, ev.data); err != nil {
			return &sinkError{err}
		}
		return nil
	}
	var rec api.OutputRecord
	if err := json.Unmarshal(ev.data, &rec); err != nil {
		return fmt.Errorf("decode a record: %w", err)
	}
	if rec.Seq <= r.after {
		return nil
	}
	if rec.Seq != r.after+1 {
		return fmt.Errorf("record %d came after record %d", rec.Seq, r.after)
	}
	if err := r.sink(rec); err != nil {
		return &sinkError{err}
	}
	r.after = rec.Seq
	return nil
}

// eventReader reads server-sent events.
type eventReader struct{ r *bufio.Reader }

// event is one of a stream. A comment has neither name nor data.
type event struct {
	name, id string
	data     []byte
}

// next returns the next event. io.ErrUnexpectedEOF is a stream that ends without
// its end.
func (e *eventReader) next() (ev event, err error) {
	for {
		line, err := e.line()
		if err != nil {
			return event{}, err
		}
		if len(line) == 0 {
			return ev, nil
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			ev.name = string(value)
		case "id":
			ev.id = string(value)
		case "data":
			if ev.data != nil {
				ev.data = append(ev.data, '\n')
			}
			ev.data = append(ev.data, value...)
		}
		if len(ev.data) > maxEvent {
			return event{}, fmt.Errorf("an event has more than %d bytes", maxEvent)
		}
	}
}

func (e *eventReader) line() ([]byte, error) {
	var line []byte
	for {
		part, err := e.r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimRight(line, "\r\n"), nil
		case errors.Is(err, bufio.ErrBufferFull):
			if len(line) > maxEvent {
				return nil, fmt.Errorf("an event has more than %d bytes", maxEvent)
			}
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}
