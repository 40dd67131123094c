package native

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

// tape is an execution's output: the records after a number, up to a few at a time.
func tape(records []remuda.OutputRecord, atOnce int) func(int64) remuda.OutputPage {
	return func(after int64) remuda.OutputPage {
		rest := records[min(int(after), len(records)):]
		page := remuda.OutputPage{Records: rest[:min(atOnce, len(rest))], Next: after}
		if n := len(page.Records); n > 0 {
			page.Next = page.Records[n-1].Seq
		}
		page.Ended = int(page.Next) >= len(records)
		return page
	}
}

var threeRecords = []remuda.OutputRecord{
	{Seq: 1, Stream: remuda.StreamStdout, Data: []byte("a<b>\u2028\n")},
	{Seq: 2, Stream: remuda.StreamStderr, Data: []byte("caf\xc3")}, // cuts é in two
	{Seq: 3, Stream: remuda.StreamStdout, Data: []byte{0}},
}

func TestOutputPage(t *testing.T) {
	t.Parallel()
	cut := func(int64) remuda.OutputPage {
		return remuda.OutputPage{Next: 5, Truncated: true, Cut: 77, Ended: true}
	}
	runScenarios(t, httpapi.Options{}, []scenario{
		{
			name: "all", stage: stage{output: tape(threeRecords, 10)}, request: "GET /v1/executions/ex_1/output", status: 200,
			want:  []string{`{"data":"a<b>\u2028\n","seq":1,"stream":"stdout"}`, `{"data_base64":"Y2Fmww==","seq":2,"stream":"stderr"}`, `"data":"\u0000"`, `"next":3`, `"ended":true`, `"truncated":false`},
			asked: []any{remuda.ExecutionID("ex_1"), int64(0), 1 << 20, time.Duration(0)},
		},
		{name: "after", stage: stage{output: tape(threeRecords, 10)}, request: "GET /v1/executions/ex_1/output?after=2&limit=5&wait=1m", status: 200, want: []string{`"seq":3`}, never: []string{`"seq":2`}, asked: []any{remuda.ExecutionID("ex_1"), int64(2), 5, time.Minute}},
		{name: "nothing", request: "GET /v1/executions/ex_1/output?after=9", status: 200, want: []string{`"records":[]`, `"next":9`}},
		{name: "cut", stage: stage{output: cut}, request: "GET /v1/executions/ex_1/output", status: 200, want: []string{`"truncated":true`, `"cut_bytes":77`}},
		{name: "negative", request: "GET /v1/executions/ex_1/output?after=-1", status: 400, want: []string{`"field":"after"`}},
		{name: "absent", stage: fail(remuda.CodeNotFound), request: "GET /v1/executions/ex_1/output", header: []string{"Accept", "text/event-stream"}, status: 404},
		{name: "bad event id", request: "GET /v1/executions/ex_1/output", header: []string{"Accept", "text/event-stream", "Last-Event-ID", "x"}, status: 400, want: []string{`"field":"Last-Event-ID"`}},
		{
			name: "stream", stage: stage{output: tape(threeRecords, 1), final: true}, request: "GET /v1/executions/ex_1/output", header: []string{"Accept", "text/html;q=0.1, Text/Event-Stream;q=1"}, status: 200,
			want: []string{"Content-Type: text/event-stream", "id: 1\nevent: output\ndata: {\"data\":\"a<b>\\u2028\\n\",\"seq\":1,\"stream\":\"stdout\"}\n\nid: 2\nevent: output\n", "id: 3\nevent: output\n", "\n\nevent: end\ndata: {", `"state":"error"`},
		},
		{name: "stream from an id", stage: stage{output: tape(threeRecords, 1), final: true}, request: "GET /v1/executions/ex_1/output?after=1", header: []string{"Accept", "text/event-stream", "Last-Event-ID", "2"}, status: 200, want: []string{"id: 3\n", "event: end"}, never: []string{"id: 2\n"}},
	})
}

// TestStreamIsLive wants records and heartbeats on the wire while the execution
// still runs, and the handler to end when its reader goes away.
func TestStreamIsLive(t *testing.T) {
	t.Parallel()
	next := make(chan remuda.OutputPage)
	st := stage{output: func(after int64) remuda.OutputPage {
		if after == 0 {
			return remuda.OutputPage{Records: threeRecords[:1], Next: 1}
		}
		return <-next
	}}
	gone := make(chan struct{})
	h := st.handler(t, httpapi.Options{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		h.ServeHTTP(w, r)
	}))
	defer srv.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/v1/executions/ex_1/output", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Authorization", "Bearer good")
	resp, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	read := func(want string) {
		t.Helper()
		buf := make([]byte, len(want))
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != want {
			t.Fatalf("the stream has %q (%v), want %q", buf, err, want)
		}
	}
	read("id: 1\nevent: output\ndata: {\"data\":\"a<b>\\u2028\\n\",\"seq\":1,\"stream\":\"stdout\"}\n\n")
	next <- remuda.OutputPage{Next: 1} // nothing came for a while
	read(":\n\n")
	cancel()
	for alive := true; alive; {
		select {
		case next <- remuda.OutputPage{Next: 1}: // keeps trying to say something
		case <-gone:
			alive = false
		case <-time.After(20 * time.Second):
			t.Fatal("the handler goes on without a reader")
		}
	}
}

// TestSlowReaderIsCut wants a reader that takes nothing to be cut off by the
// write deadline rather than to hold what it does not read.
func TestSlowReaderIsCut(t *testing.T) {
	t.Parallel()
	chunk := remuda.OutputRecord{Stream: remuda.StreamStdout, Data: []byte(strings.Repeat("x", 64<<10))}
	st := stage{output: func(after int64) remuda.OutputPage {
		rec := chunk
		rec.Seq = after + 1
		return remuda.OutputPage{Records: []remuda.OutputRecord{rec}, Next: rec.Seq}
	}}
	w := &stuckWriter{header: http.Header{}, room: 4}
	r := httptest.NewRequest(http.MethodGet, "/v1/executions/ex_1/output", nil)
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Authorization", "Bearer good")
	defer func() {
		if recover() != http.ErrAbortHandler { //nolint:errorlint // panics carry exactly this value
			t.Error("the connection is not aborted")
		}
		if w.deadlines == 0 {
			t.Error("no write deadline is set")
		}
	}()
	st.handler(t, httpapi.Options{}).ServeHTTP(w, r)
}

// stuckWriter takes a few writes and then behaves as a connection whose write
// deadline has passed.
type stuckWriter struct {
	header          http.Header
	room, deadlines int
}

func (w *stuckWriter) Header() http.Header { return w.header }
func (w *stuckWriter) WriteHeader(int)     {}
func (w *stuckWriter) Flush()              {}
func (w *stuckWriter) Write(b []byte) (int, error) {
	if w.room--; w.room < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

func (w *stuckWriter) SetWriteDeadline(time.Time) error {
	w.deadlines++
	return nil
}
