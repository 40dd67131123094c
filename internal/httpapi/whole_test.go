package httpapi_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/remuda-run/remuda/internal/httpapi"
)

// stuck is a log that takes nothing until it is let go.
type stuck struct{ letGo chan struct{} }

func (s stuck) Write(line []byte) (int, error) {
	<-s.letGo
	return len(line), nil
}

// TestAnswerComesBeforeTheLog: whoever asked has the whole answer while the line in the
// access log is yet to be written, and the connection serves the next request.
func TestAnswerComesBeforeTheLog(t *testing.T) {
	t.Parallel()
	log := stuck{make(chan struct{})}
	h, err := httpapi.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := httpapi.WriteJSON(w, http.StatusOK, map[string]string{"a": "b"}); err != nil {
			t.Error(err)
		}
	}), httpapi.Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	defer server.Close()
	for n := range 2 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(body) != "{\"a\":\"b\"}\n" || resp.ContentLength != int64(len(body)) || len(resp.TransferEncoding) != 0 {
			t.Errorf("answer %q of %d bytes, sent as %v, %v", body, resp.ContentLength, resp.TransferEncoding, err)
		}
		if n == 0 {
			close(log.letGo) // only now: it has waited until the answer was here
		}
	}
}
