package executions

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// Bounds of one page of messages.
const (
	defaultMessages = 1000
	maxMessages     = 10_000
	maxMessagePage  = 4 << 20  // bytes of records that are read for a page
	maxNewest       = 32 << 10 // records that are looked at for the newest messages
	maxMessage      = 32 << 10 // bytes of one message; a longer line is cut
)

// StreamRecords returns messages of a stream, as far as they are durable, which in a
// running script takes some 20 ms. A page ends where Max is reached or after some
// 4 MiB, but always with all messages of an output record; next is what to give as
// After to go on. ended says that there will be no more after next.
//
// The stream of errors has the lines of standard error too, each in the record in
// which it ends. What standard error ended with in the middle of a line comes when the
// execution has ended, as of a record after the last one.
func (s *Service) StreamRecords(ctx context.Context, p remuda.Principal, id remuda.ExecutionID, stream remuda.Stream, page remuda.StreamPage) (records []remuda.StreamRecord, next int64, ended bool, err error) {
	if err := authz.Check(p, authz.ExecutionRead, p.Organization); err != nil {
		return nil, 0, false, err
	}
	if err := checkPage(stream, &page); err != nil {
		return nil, 0, false, err
	}
	err = s.store.ReadOf(ctx, store.Ended{Organization: p.Organization, Execution: id}, func(tx *store.Tx) error {
		row, err := visible(ctx, tx, p, id)
		if err != nil {
			return err
		}
		r := newMessageReader(ctx, tx, row, stream)
		if page.Last > 0 {
			records, next, err = r.newest(page.Last, page.After)
			ended = row.State.Final()
			return err
		}
		records, next, ended, err = r.page(page.After, page.Max)
		return err
	})
	return records, next, ended, err
}

func checkPage(stream remuda.Stream, page *remuda.StreamPage) error {
	var wrong []remuda.FieldError
	if !slices.Contains(remuda.MessageStreams(), stream) {
		wrong = append(wrong, remuda.FieldError{Field: "stream", Message: fmt.Sprintf("must be one of %v", remuda.MessageStreams())})
	}
	for _, f := range []struct {
		field string
		n     int64
	}{{"after", page.After}, {"last", int64(page.Last)}, {"max", int64(page.Max)}} {
		if f.n < 0 {
			wrong = append(wrong, remuda.FieldError{Field: f.field, Message: "must not be negative"})
		}
	}
	if len(wrong) > 0 {
		return remuda.Invalid(wrong...)
	}
	if page.Max == 0 {
		page.Max = defaultMessages
	}
	page.Max, page.Last = min(page.Max, maxMessages), min(page.Last, maxMessages)
	return nil
}

// messageReader reads the messages of one stream of an execution.
type messageReader struct {
	ctx     context.Context //nolint:containedctx // lives within one call
	tx      *store.Tx
	row     remuda.Execution
	streams [2]remuda.Stream
	lines   bool // of the stream of errors
}

func newMessageReader(ctx context.Context, tx *store.Tx, row remuda.Execution, stream remuda.Stream) *messageReader {
	r := &messageReader{ctx: ctx, tx: tx, row: row, streams: [2]remuda.Stream{stream, stream}}
	if stream == remuda.StreamError {
		r.streams[1], r.lines = remuda.StreamStderr, true
	}
	return r
}

// page reads onwards.
func (r *messageReader) page(after int64, most int) (messages []remuda.StreamRecord, next int64, ended bool, err error) {
	var c cutter
	if c.open, err = r.openLine(after); err != nil {
		return nil, 0, false, err
	}
	next = after
	for size := 0; ; {
		records, err := r.tx.StreamOutput(r.ctx, r.row.Organization, r.row.ID, r.streams, next, maxMessagePage)
		if err != nil {
			return nil, 0, false, err
		}
		if len(records) == 0 {
			break
		}
		for i := range records {
			c.add(&records[i])
			next = records[i].Seq
			if size += len(records[i].Data); len(c.messages) >= most || size >= maxMessagePage {
				return c.messages, next, false, nil
			}
		}
	}
	next, err = r.conclude(&c, next)
	return c.messages, next, r.row.State.Final(), err
}

// conclude is where to go on once all there is has been read: after the last record of
// any stream, so that nobody looks at those again. Of an execution that has ended it
// adds the line that standard error ended with in the middle. Its number is that after
// the last record's, so that it comes last, and on one page only.
func (r *messageReader) conclude(c *cutter, next int64) (int64, error) {
	last, err := r.tx.LastOutput(r.ctx, r.row.Organization, r.row.ID)
	if err != nil {
		return 0, err
	}
	if r.row.State.Final() && len(c.open.text) > 0 && next <= last {
		c.endLine(last+1, c.open.at)
		return last + 1, nil
	}
	return max(next, last), nil
}

// openLine is the line of standard error that has begun in records up to after and
// not ended there.
func (r *messageReader) openLine(after int64) (line, error) {
	if !r.lines || after == 0 {
		return line{}, nil
	}
	var parts []remuda.OutputRecord
	for size, before := 0, after+1; size <= maxMessage; {
		records, err := r.tx.StreamOutputBefore(r.ctx, r.row.Organization, r.row.ID, [2]remuda.Stream{remuda.StreamStderr, remuda.StreamStderr}, before, 16, 2*maxMessage)
		if err != nil {
			return line{}, err
		}
		if len(records) == 0 {
			break
		}
		parts = append(slices.Clone(records), parts...)
		before = records[0].Seq
		ended := false
		for i := range records {
			size += len(records[i].Data)
			ended = ended || bytes.IndexByte(records[i].Data, '\n') >= 0
		}
		if ended {
			break
		}
	}
	var c cutter
	for i := range parts {
		c.add(&parts[i])
	}
	return c.open, nil
}

// newest reads the last messages, of those after a record.
func (r *messageReader) newest(most int, after int64) (messages []remuda.StreamRecord, next int64, err error) {
	records, all, err := r.newestRecords(most, after)
	if err != nil {
		return nil, 0, err
	}
	var c cutter
	if !all {
		if c.open, err = r.openLine(records[0].Seq - 1); err != nil {
			return nil, 0, err
		}
	}
	for i := range records {
		c.add(&records[i])
	}
	if next, err = r.conclude(&c, after); err != nil {
		return nil, 0, err
	}
	messages = slices.DeleteFunc(c.messages, func(m remuda.StreamRecord) bool { return m.Seq <= after })
	return messages[max(0, len(messages)-most):], next, nil
}

// newestRecords reads backwards until there are more than so many messages. all says
// that there are no older records.
func (r *messageReader) newestRecords(most int, after int64) (records []remuda.OutputRecord, all bool, err error) {
	var chunks [][]remuda.OutputRecord
	messages, size, count := 0, 0, 0
	for before := int64(math.MaxInt64); messages <= most && size < maxMessagePage && count < maxNewest; {
		chunk, err := r.tx.StreamOutputBefore(r.ctx, r.row.Organization, r.row.ID, r.streams, before, min(most+1, 512), maxMessagePage)
		if err != nil {
			return nil, false, err
		}
		if all = len(chunk) == 0; all {
			break
		}
		chunks = append(chunks, chunk)
		count += len(chunk)
		for i := range chunk {
			size += len(chunk[i].Data)
			if chunk[i].Stream == remuda.StreamStderr {
				messages += fullLines(chunk[i].Data)
			} else {
				messages++
			}
		}
		if before = chunk[0].Seq; before <= after {
			break
		}
	}
	slices.Reverse(chunks)
	return slices.Concat(chunks...), all, nil
}

// fullLines counts lines that have ended, and have something in them for sure.
func fullLines(data []byte) (n int) {
	for rest := data; ; {
		text, after, ended := bytes.Cut(rest, []byte{'\n'})
		if !ended {
			return n
		}
		if len(bytes.TrimSuffix(text, []byte{'\r'})) > 0 {
			n++
		}
		rest = after
	}
}

// line is a piece of standard error that has not ended.
type line struct {
	text []byte
	over int // bytes that were not kept
	at   time.Time
}

// cutter makes messages of records: a record of its own is one, and so is each line
// of standard error that is not empty.
type cutter struct {
	messages []remuda.StreamRecord
	open     line
}

func (c *cutter) add(rec *remuda.OutputRecord) {
	if rec.Stream != remuda.StreamStderr {
		c.messages = append(c.messages, remuda.StreamRecord{Seq: rec.Seq, Time: rec.At, Message: string(rec.Data)})
		return
	}
	for rest := rec.Data; len(rest) > 0; {
		piece, after, ended := bytes.Cut(rest, []byte{'\n'})
		keep := min(len(piece), maxMessage-len(c.open.text))
		c.open.text = append(c.open.text, piece[:keep]...)
		c.open.over += len(piece) - keep
		c.open.at = rec.At
		if ended {
			c.endLine(rec.Seq, rec.At)
		}
		rest = after
	}
}

func (c *cutter) endLine(seq int64, at time.Time) {
	text := strings.ToValidUTF8(string(bytes.TrimSuffix(c.open.text, []byte{'\r'})), "\uFFFD")
	if c.open.over > 0 {
		text += fmt.Sprintf(" ... %d bytes cut", c.open.over)
	}
	if text != "" {
		c.messages = append(c.messages, remuda.StreamRecord{Seq: seq, Time: at, Message: text})
	}
	c.open = line{text: c.open.text[:0]}
}
