package apitest

import (
	"bytes"
	"io"
	"net/http"
	"strings"
)

// Transport returns a RoundTripper that sends through base
// (http.DefaultTransport if nil) and fails t for whatever the document does not
// say. JSON answers are read to their end at once; streams stay live.
func Transport(t TB, base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{t: t, base: base}
}

type transport struct {
	t    TB
	base http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (tr *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	tr.t.Helper()
	var body []byte
	if r.Body != nil && strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	x, err := begin(tr.t, r, body)
	if err != nil {
		return nil, err
	}
	resp, err := tr.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, nil
	}
	schema, kind := x.header(resp.StatusCode, resp.Header)
	x.request(resp.StatusCode)
	switch {
	case r.Method == http.MethodHead:
	case strings.HasSuffix(kind, "json"):
		whole, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err == nil {
			x.json(schema, whole)
		}
		resp.Body = &replay{Reader: bytes.NewReader(whole), err: err}
	case kind == "text/event-stream":
		resp.Body = &live{body: resp.Body, events: events{x: x}}
	}
	return resp, nil
}

// replay gives a body that was read already, and the error that ended it.
type replay struct {
	*bytes.Reader
	err error
}

func (r *replay) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err == io.EOF && r.err != nil {
		err = r.err
	}
	return n, err
}

func (*replay) Close() error { return nil }

// live passes a stream on and looks at each event.
type live struct {
	body   io.ReadCloser
	events events
}

func (l *live) Read(b []byte) (int, error) {
	n, err := l.body.Read(b)
	l.events.write(b[:n])
	return n, err
}

func (l *live) Close() error { return l.body.Close() }

// Middleware does for a handler what Transport does for a client.
func Middleware(t TB, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Helper()
		var body []byte
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
			var err error
			if body, err = io.ReadAll(r.Body); err != nil {
				t.Errorf("apitest: read the request: %v", err)
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		x, err := begin(t, r, body)
		if err != nil {
			t.Errorf("%v", err)
		}
		rec := &recorder{ResponseWriter: w, x: x}
		h.ServeHTTP(rec, r) // a panic (an aborted answer) leaves the body unchecked
		rec.finish(r.Method)
	})
}

// recorder looks at an answer while it is written.
type recorder struct {
	http.ResponseWriter
	x      *exchange
	status int
	kind   string
	check  func()
	body   bytes.Buffer
	events events
}

// WriteHeader implements http.ResponseWriter.
func (rec *recorder) WriteHeader(status int) {
	if rec.status == 0 && status >= 200 {
		rec.status = status
		schema, kind := rec.x.header(status, rec.Header())
		rec.kind, rec.events.x = kind, rec.x
		rec.check = func() { rec.x.json(schema, rec.body.Bytes()) }
	}
	rec.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (rec *recorder) Write(b []byte) (int, error) {
	if rec.status == 0 {
		rec.WriteHeader(http.StatusOK)
	}
	switch {
	case strings.HasSuffix(rec.kind, "json"):
		rec.body.Write(b)
	case rec.kind == "text/event-stream":
		rec.events.write(b)
	}
	return rec.ResponseWriter.Write(b)
}

// Unwrap serves http.ResponseController.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

func (rec *recorder) finish(method string) {
	if rec.status == 0 {
		rec.WriteHeader(http.StatusOK)
	}
	rec.x.request(rec.status)
	if strings.HasSuffix(rec.kind, "json") && method != http.MethodHead {
		rec.check()
	}
}
