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
	f.Fuzz(func(t *testing.T, stream string) {
		c, err := New("http://unused", "", WithHTTPClient(&http.Client{Transport: canned(stream)}))
		if err != nil {
			t.Fatal(err)
		}
		after, last := int64(0), int64(0)
		_, err = followOnce[Execution](context.Background(), c, "/v1/executions/ex_1/output", &after, func(r OutputRecord) error {
			if r.Seq != last+1 {
				t.Errorf("record %d after %d", r.Seq, last)
			}
			last = r.Seq
			return nil
		}, func(string, []byte) error { return nil })
		if after != last {
			t.Errorf("stands at %d after record %d", after, last)
		}
		if err == nil && !strings.Contains(stream, "end") {
			t.Error("a stream without an end has ended well")
		}
	})
}
