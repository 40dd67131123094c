package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
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

// Output streams an execution's records after a number (0: from the beginning)
// as they come, each exactly once. A lost connection is made again by itself.
// The sequence ends after the last record; an error ends it too.
func (c *Client) Output(ctx context.Context, id string, after int64) iter.Seq2[OutputRecord, error] {
	return func(yield func(OutputRecord, error) bool) {
		_, err := c.Follow(ctx, id, after, func(r OutputRecord) error {
			if !yield(r, nil) {
				return errStopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(OutputRecord{}, err)
		}
	}
}

var errStopped = errors.New("the reader has seen enough")

// Follow gives each record after a number to sink, as Output does, and returns
// the execution once it has ended. An error of sink ends it.
func (c *Client) Follow(ctx context.Context, id string, after int64, sink func(OutputRecord) error) (Execution, error) {
	return follow[Execution](ctx, c, at("executions", id, "output"), after, sink, func(string, []byte) error { return nil })
}

// follow reads a stream of records that ends with an object. other gets the events
// that are neither.
func follow[End any](ctx context.Context, c *Client, path string, after int64, sink func(OutputRecord) error, other func(name string, data []byte) error) (End, error) {
	var none End
	pause, attempts := firstPause, 0
	for {
		before := after
		end, err := followOnce[End](ctx, c, path, &after, sink, other)
		switch {
		case err == nil:
			return end, nil
		case ctx.Err() != nil:
			return none, ctx.Err()
		case !lost(err):
			return none, err
		case after > before:
			pause, attempts = firstPause, 0
			continue // there was progress: go on at once
		}
		if attempts++; attempts >= maxAttempts {
			return none, fmt.Errorf("%s after record %d: no connection after %d attempts: %w", path, after, attempts, err)
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

// followOnce reads one connection's worth of events. after moves with every
// record that sink has taken.
func followOnce[End any](ctx context.Context, c *Client, path string, after *int64, sink func(OutputRecord) error, other func(string, []byte) error) (end End, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	query := url.Values{"after": {strconv.FormatInt(*after, 10)}}
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
		name, data, err := events.next()
		if err != nil {
			return end, err
		}
		watch.Stop() // the sink may take its time
		switch name {
		case "":
		case "end":
			if err := json.Unmarshal(data, &end); err != nil {
				return end, fmt.Errorf("decode the end of a stream: %w", err)
			}
			return end, nil
		case "output":
			err = deliver(data, after, sink)
		default:
			if err := other(name, data); err != nil {
				return end, &sinkError{err}
			}
		}
		if err != nil {
			return end, err
		}
	}
}

// deliver gives a record to sink, unless it had it already.
func deliver(data []byte, after *int64, sink func(OutputRecord) error) error {
	var rec api.OutputRecord
	if err := json.Unmarshal(data, &rec); err != nil {
		return fmt.Errorf("decode a record: %w", err)
	}
	if rec.Seq <= *after {
		return nil
	}
	if rec.Seq != *after+1 {
		return fmt.Errorf("record %d came after record %d", rec.Seq, *after)
	}
	if err := sink(rec); err != nil {
		return &sinkError{err}
	}
	*after = rec.Seq
	return nil
}

// eventReader reads server-sent events.
type eventReader struct{ r *bufio.Reader }

// next returns the name and data of the next event; both are empty for a
// comment. io.ErrUnexpectedEOF is a stream that ends without its end.
func (e *eventReader) next() (name string, data []byte, err error) {
	for {
		line, err := e.line()
		if err != nil {
			return "", nil, err
		}
		if len(line) == 0 {
			return name, data, nil
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			name = string(value)
		case "data":
			if data != nil {
				data = append(data, '\n')
			}
			data = append(data, value...)
		}
		if len(data) > maxEvent {
			return "", nil, fmt.Errorf("an event has more than %d bytes", maxEvent)
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

// Run runs a script once, writes its output to stdout and stderr as it comes
// (either may be nil) and returns the ended execution. If ctx ends first the
// execution is canceled.
func (c *Client) Run(ctx context.Context, in ExecutionCreate, stdout, stderr io.Writer) (Execution, error) {
	ex, err := c.CreateExecution(ctx, in, 0)
	if err != nil {
		return Execution{}, err
	}
	end, err := c.Follow(ctx, ex.Id, 0, func(r OutputRecord) error {
		w := stdout
		if r.Stream == api.OutputRecordStreamStderr {
			w = stderr
		}
		if w == nil {
			return nil
		}
		_, err := w.Write(Bytes(r))
		return err
	})
	if err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_, _ = c.CancelExecution(stop, ex.Id) // it may have ended; err says what matters
		return ex, err
	}
	return end, nil
}
