package native

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/httpapi"
)

// discardWriter is a ResponseWriter that costs nothing.
type discardWriter struct{ header http.Header }

func (w *discardWriter) Header() http.Header         { return w.header }
func (w *discardWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *discardWriter) WriteHeader(int)             {}

func benchmarkSubmit(b *testing.B, body string) {
	b.Helper()
	st := stage{final: true}
	h := st.bare(b, httpapi.Options{Logger: slog.New(slog.NewJSONHandler(struct{ io.Writer }{io.Discard}, nil))})
	reader := bytes.NewReader([]byte(body))
	r := httptest.NewRequest(http.MethodPost, "/v1/executions?wait=30s", reader)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer good")
	w := &discardWriter{header: http.Header{}}
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		reader.Reset([]byte(body))
		r.Body = io.NopCloser(reader)
		clear(w.header)
		h.ServeHTTP(w, r)
	}
	if len(st.last()) != 2 {
		b.Fatal("the service was not asked")
	}
}

// BenchmarkSubmit is what this layer costs for a small execution: middleware,
// log line, credentials, checks, decoding and encoding, without the network.
func BenchmarkSubmit(b *testing.B) {
	benchmarkSubmit(b, `{"runtime":"python","script":"print(1 + 1)","timeout_s":10,"parameters":{"x":[1,2]}}`)
}

// BenchmarkSubmitLarge is the same with a script of 5 MB.
func BenchmarkSubmitLarge(b *testing.B) {
	benchmarkSubmit(b, `{"runtime":"python","script":"`+strings.Repeat(`print(\"x\")\n`, 400_000)+`"}`)
}
