package native

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

// messages reads one stream of an execution.
type messages struct {
	edge   *edge
	p      remuda.Principal
	id     remuda.ExecutionID
	stream remuda.Stream
	page   remuda.StreamPage
	// seen is up to where the execution's output is known, of all streams: what
	// comes after it may be a message.
	seen int64
}

func (e *edge) getStream(c *call) error {
	wait, err := httpapi.ParseWait(c.query.Get("wait"))
	if err != nil {
		return err
	}
	m := messages{
		edge: e, p: c.p, id: remuda.ExecutionID(c.r.PathValue("execution")), stream: remuda.Stream(c.r.PathValue("stream")),
		page: remuda.StreamPage{After: integer(c.query.Get("after"), 0), Last: int(integer(c.query.Get("last"), 0)), Max: int(integer(c.query.Get("limit"), 0))},
	}
	if httpapi.AcceptsEvents(c.r.Header) {
		if id := c.r.Header.Get("Last-Event-ID"); id != "" {
			m.page.After, m.page.Last = integer(id, 0), 0 // a reader that comes back has had its last ones
		}
		return m.events(c)
	}
	records, ended, err := m.next(c.ctx(), wait)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, api.StreamPage{Records: each(records, streamRecordWire), Next: m.page.After, Ended: ended})
}

// next reads the next page. With wait it blocks until there is a message, or there
// will be none.
func (m *messages) next(ctx context.Context, wait time.Duration) (records []remuda.StreamRecord, ended bool, err error) {
	for deadline := time.Now().Add(wait); ; {
		records, m.page.After, ended, err = m.edge.Executions.StreamRecords(ctx, m.p, m.id, m.stream, m.page)
		m.page.Last = 0
		m.seen = max(m.seen, m.page.After)
		left := time.Until(deadline)
		if err != nil || ended || len(records) > 0 || left <= 0 {
			return records, ended, err
		}
		// Whatever else it says may be about this stream.
		more, err := m.edge.awaitOutput(ctx, m.p, m.id, m.seen, left)
		if err != nil {
			return nil, false, err
		}
		m.seen = more.Next
	}
}

// idlePause is between two looks at an execution that nobody in this process runs
// and that has not ended either, for which Output does not wait.
const idlePause = 200 * time.Millisecond

// awaitOutput returns when there is more output, none will come, or after wait.
func (e *edge) awaitOutput(ctx context.Context, p remuda.Principal, id remuda.ExecutionID, after int64, wait time.Duration) (remuda.OutputPage, error) {
	began := time.Now()
	page, err := e.Executions.Output(ctx, p, id, after, streamBytes, wait)
	if waited := time.Since(began); err == nil && !page.Ended && len(page.Records) == 0 && waited < min(wait, idlePause) {
		t := time.NewTimer(min(wait, idlePause) - waited)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return page, ctx.Err()
		case <-t.C:
		}
	}
	return page, err
}

// events sends messages as they come and at last the execution. The first page is
// asked for before the header is sent, so that a refusal is still an answer with a
// status. Only the last message of a page has an id: what to go on after.
func (m *messages) events(c *call) error {
	records, ended, err := m.next(c.ctx(), 0)
	if err != nil {
		return err
	}
	stream, err := httpapi.NewEventStream(c.w)
	if err != nil {
		return err
	}
	for {
		for i, rec := range records {
			data, err := oneLine(streamRecordWire(rec))
			if err != nil {
				return err
			}
			id := ""
			if i == len(records)-1 {
				id = strconv.FormatInt(m.page.After, 10)
			}
			stream.Add("message", id, data)
		}
		if ended {
			return m.edge.endStream(c, stream, m.id)
		}
		if len(records) == 0 {
			stream.Heartbeat()
		}
		if err := stream.Flush(); err != nil {
			return err // the reader has gone, or stands still
		}
		if records, ended, err = m.next(c.ctx(), heartbeat); err != nil {
			return err
		}
	}
}

func (e *edge) getObjects(c *call) error {
	objects, ended, err := e.Executions.OutputObjects(c.ctx(), c.p, remuda.ExecutionID(c.r.PathValue("execution")))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, api.ObjectList{Objects: each(objects, objectWire), Ended: ended})
}

func (e *edge) getText(c *call) error {
	text, ended, err := e.Executions.OutputText(c.ctx(), c.p, remuda.ExecutionID(c.r.PathValue("execution")))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, api.OutputText{Text: text, Ended: ended})
}
