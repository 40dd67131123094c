package client

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

// canned is a network that answers everything with itself.
type canned string

func (c canned) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(c)))}, nil
}

// FuzzStream reads foreign streams: the reader must end, must not take a cut
// stream for a whole one, and never gives a record twice or out of order.
func FuzzStream(f *testing.F) {
	const end = "event: end\ndata: {\"state\":\"success\"}\n\n"
	f.Add("id: 1\nevent: output\ndata: {\"seq\":1,\"stream\":\"stdout\",\"data\":\"x\"}\n\n" + end)
	f.Add("event: output\ndata: {\"seq\":2}\n\n:\n\n" + end)
	f.Add(end)
	f.Add("event: message\ndata: {\"seq\":1,\"message\":\"a\"}\n\nid: 1\nevent: message\ndata: {\"seq\":1,\"message\":\"b\"}\n\n" + end)
	f.Fuzz(func(t *testing.T, stream string) {
		c, err := New("http://unused", "", WithHTTPClient(&http.Client{Transport: canned(stream)}))
		if err != nil {
			t.Fatal(err)
		}
		last := int64(0)
		out := &records{sink: func(r OutputRecord) error {
			if r.Seq != last+1 {
				t.Errorf("record %d after %d", r.Seq, last)
			}
			last = r.Seq
			return nil
		}}
		_, err = followOnce[Execution](context.Background(), c, "/v1/executions/ex_1/output", out)
		if out.after != last {
			t.Errorf("stands at %d after record %d", out.after, last)
		}
		if err == nil && !strings.Contains(stream, "end") {
			t.Error("a stream without an end has ended well")
		}
		// As messages, what came once does not come again over a second connection.
		took := 0
		said := &messages{sink: func(StreamRecord) error { took++; return nil }}
		_, err = followOnce[Execution](context.Background(), c, "/v1/executions/ex_1/streams/error", said)
		if err == nil && !strings.Contains(stream, "end") {
			t.Error("a stream without an end has ended well")
		}
		if before := took; said.after == 0 && took == said.since {
			said.begin()
			_, _ = followOnce[Execution](context.Background(), c, "/v1/executions/ex_1/streams/error", said)
			if took != before {
				t.Errorf("of %d messages %d came twice", before, took-before)
			}
		}
	})
}
