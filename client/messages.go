package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// MessagePage asks for messages of a stream. The zero value is the first page.
type MessagePage struct {
	After int64         // the next of the page before
	Last  int           // not 0: only so many of the newest
	Limit int           // 0 is the server's default
	Wait  time.Duration // wait so long (at most five minutes) for a message or the end
}

// GetStream returns messages of a stream of an execution.
func (c *Client) GetStream(ctx context.Context, id string, stream MessageStream, p MessagePage) (StreamPage, error) {
	q := url.Values{"after": {strconv.FormatInt(p.After, 10)}}
	if p.Last > 0 {
		q.Set("last", strconv.Itoa(p.Last))
	}
	if p.Limit > 0 {
		q.Set("limit", strconv.Itoa(p.Limit))
	}
	if p.Wait > 0 {
		q.Set("wait", min(p.Wait, maxWait).String())
	}
	return call[StreamPage](ctx, c, http.MethodGet, at("executions", id, "streams", string(stream)), q, nil)
}

// FollowStream gives each message after a position (0: the beginning, or the Next of
// a page) to sink as it comes, each exactly once, and returns the execution once it
// has ended. A lost connection is made again by itself. An error of sink ends it.
func (c *Client) FollowStream(ctx context.Context, id string, stream MessageStream, after int64, sink func(StreamRecord) error) (Execution, error) {
	return follow[Execution](ctx, c, at("executions", id, "streams", string(stream)), &messages{after: after, sink: sink})
}

// GetObjects returns what an execution has put out as objects.
func (c *Client) GetObjects(ctx context.Context, id string) (ObjectList, error) {
	return call[ObjectList](ctx, c, http.MethodGet, at("executions", id, "objects"), nil, nil)
}

// GetText returns what an execution has put out as one text.
func (c *Client) GetText(ctx context.Context, id string) (OutputText, error) {
	return call[OutputText](ctx, c, http.MethodGet, at("executions", id, "text"), nil, nil)
}

// messages takes messages, each once. Only some have an id to go on after: those
// since the last one come again with the next connection, in the same order.
type messages struct {
	after int64
	since int   // taken since after
	again int   // of these, how many this connection has still to repeat
	count int64 // taken at all
	sink  func(StreamRecord) error
}

func (m *messages) position() int64 { return m.after }
func (m *messages) taken() int64    { return m.count }
func (m *messages) begin()          { m.again = m.since }

func (m *messages) take(ev event) error {
	if ev.name != "message" {
		return nil
	}
	if m.again > 0 {
		m.again--
	} else {
		var rec StreamRecord
		if err := json.Unmarshal(ev.data, &rec); err != nil {
			return fmt.Errorf("decode a message: %w", err)
		}
		if err := m.sink(rec); err != nil {
			return &sinkError{err}
		}
		m.since++
		m.count++
	}
	if ev.id == "" {
		return nil
	}
	after, err := strconv.ParseInt(ev.id, 10, 64)
	if err != nil {
		return fmt.Errorf("the id %q of an event is no number", ev.id)
	}
	m.after, m.since, m.again = after, 0, 0
	return nil
}
