package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

func TestParseWait(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"": 0, "0": 0, "30": 30 * time.Second, "0.5": 500 * time.Millisecond, "1m30s": 90 * time.Second, "500ms": 500 * time.Millisecond, "300": httpapi.MaxWait, "5m": httpapi.MaxWait} {
		if d, err := httpapi.ParseWait(text); err != nil || d != want {
			t.Errorf("%q is %v, %v; want %v", text, d, err, want)
		}
	}
	for _, text := range []string{"-1", "-1s", "301", "5m1s", "x", "1x", "1e2", "NaN", "Inf", " 1", "1 ", "0x10", "9999999999999999999"} {
		if d, err := httpapi.ParseWait(text); remuda.CodeOf(err) != remuda.CodeInvalid {
			t.Errorf("%q is taken as %v (%v)", text, d, err)
		}
	}
}

func FuzzParseWait(f *testing.F) {
	f.Add("30s")
	f.Add("1.5")
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := httpapi.ParseWait(text); err == nil && (d < 0 || d > httpapi.MaxWait) {
			t.Errorf("%q is %v", text, d)
		}
	})
}

// TestEveryCodeHasAStatus wants no code to fall through to 500 by accident.
func TestEveryCodeHasAStatus(t *testing.T) {
	t.Parallel()
	for code, want := range map[remuda.Code]int{
		remuda.CodeInvalid: 400, remuda.CodeUnauthenticated: 401, remuda.CodeForbidden: 403, remuda.CodeNotFound: 404, remuda.CodeConflict: 409,
		remuda.CodePrecondition: 412, remuda.CodeTooLarge: 413, remuda.CodeUnsupportedType: 415, remuda.CodeUnsupported: 422, remuda.CodeExhausted: 429,
		remuda.CodeInternal: 500, remuda.CodeUnavailable: 503, remuda.CodeCanceled: 503, remuda.CodeDeadline: 504, "unheard_of": 500,
	} {
		if got := httpapi.StatusOf(fmt.Errorf("x: %w", &remuda.Error{Code: code})); got != want {
			t.Errorf("%s is %d, want %d", code, got, want)
		}
	}
	for err, want := range map[error]int{
		context.Canceled: 503, context.DeadlineExceeded: 504, errors.New("x"): 500, &http.MaxBytesError{Limit: 1}: 413,
		httpapi.Reference("runtime", remuda.NotFound("runtime", "x")): 422, httpapi.Reference("runtime", io.EOF): 500,
	} {
		if got := httpapi.StatusOf(err); got != want {
			t.Errorf("%v is %d, want %d", err, got, want)
		}
	}
}

func wrap(t *testing.T, o httpapi.Options, h http.HandlerFunc) http.Handler {
	t.Helper()
	wrapped, err := httpapi.Wrap(h, o)
	if err != nil {
		t.Fatal(err)
	}
	return wrapped
}

// TestLog wants one line for a request, with the private cause and without secrets.
func TestLog(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := wrap(t, httpapi.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(w http.ResponseWriter, r *http.Request) {
		httpapi.SetPrincipal(r.Context(), remuda.Principal{User: "usr_1", Organization: "org_1"})
		httpapi.WriteError(w, r, remuda.Internal("testing", errors.New("private cause")))
	})
	r := httptest.NewRequest(http.MethodGet, "/a?token=query-secret", nil)
	r.Header.Set("Authorization", "Bearer header-secret")
	r.Header.Set("X-Request-Id", "my-id")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	line := log.String()
	for _, want := range []string{"level=ERROR", "msg=request", "request_id=my-id", "method=GET", "path=/a", "status=500", "user=usr_1", "organization=org_1", "code=internal", "private cause"} {
		if !strings.Contains(line, want) {
			t.Errorf("the log has no %q: %s", want, line)
		}
	}
	if strings.Count(line, "\n") != 1 || strings.Contains(line, "secret") || strings.Contains(w.Body.String(), "private") {
		t.Errorf("log %q, body %q", line, w.Body)
	}
}

// TestPanics wants a problem while that is possible, a cut connection when not,
// and a log either way.
func TestPanics(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		started bool
		status  int
	}{"before the answer": {false, 500}, "in the answer": {true, 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			srv := httptest.NewServer(wrap(t, httpapi.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(w http.ResponseWriter, _ *http.Request) {
				if tc.started {
					w.Header().Set("Content-Length", "100")
					_, _ = io.WriteString(w, "half")
				}
				panic("boom")
			}))
			resp, err := srv.Client().Get(srv.URL)
			var body []byte
			if err == nil {
				body, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			srv.Close() // waits for the handler, and so for its log
			if tc.started && err == nil {
				t.Errorf("half an answer was taken for a whole one: %q", body)
			}
			if !tc.started && (err != nil || resp.StatusCode != tc.status || !strings.Contains(string(body), `"code":"internal"`)) {
				t.Errorf("%v %s", err, body)
			}
			if !strings.Contains(log.String(), "boom") || !strings.Contains(log.String(), "msg=request") {
				t.Errorf("log %q", log.String())
			}
		})
	}
}

// TestTrustedOrigins wants a foreign site refused and a trusted one let through.
func TestTrustedOrigins(t *testing.T) {
	t.Parallel()
	h := wrap(t, httpapi.Options{TrustedOrigins: []string{"https://good.example"}}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for origin, want := range map[string]int{"https://good.example": 204, "https://bad.example": 403, "": 204} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		if origin != "" {
			r.Header.Set("Origin", origin)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("origin %q is answered %d, want %d", origin, w.Code, want)
		}
	}
	if _, err := httpapi.Wrap(http.NotFoundHandler(), httpapi.Options{TrustedOrigins: []string{"no origin"}}); err == nil {
		t.Error("a bad origin is taken")
	}
}

// TestWaitingKeepsTheClient wants the deadline for reading a body to be gone
// while the handler waits: net/http would take the client for gone.
func TestWaitingKeepsTheClient(t *testing.T) {
	t.Parallel()
	deadlines := make(chan time.Time, 10)
	h := wrap(t, httpapi.Options{}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		httpapi.BodyRead(r)
		w.WriteHeader(http.StatusNoContent)
	})
	w := &deadlineWriter{ResponseRecorder: httptest.NewRecorder(), read: deadlines}
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("x")))
	if first, second := <-deadlines, <-deadlines; first.IsZero() || !second.IsZero() {
		t.Errorf("deadlines %v and %v", first, second)
	}
}

type deadlineWriter struct {
	*httptest.ResponseRecorder
	read chan time.Time
}

func (w *deadlineWriter) SetReadDeadline(t time.Time) error {
	w.read <- t
	return nil
}

// TestAbsurdRequests sends what no client sends over a real connection.
func TestAbsurdRequests(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.Handle("/", httpapi.NotFound(mux))
	h, err := httpapi.Wrap(mux, httpapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := httpapi.NewServer(h, nil)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	defer func() {
		_ = srv.Close()
		<-done
	}()
	for request, want := range map[string]string{
		"GET /%2e%2e/x HTTP/1.1\r\nHost: x\r\n\r\n":                                        "HTTP/1.1 404 ",
		"GET /../x HTTP/1.1\r\nHost: x\r\n\r\n":                                            "HTTP/1.1 400 ",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n":                                            "HTTP/1.1 400 ",
		"GET /x HTTP/1.1\r\n\r\n":                                                          "HTTP/1.1 400 ",
		"GET /x HTTP/1.1\r\nHost: x\r\nX-Big: " + strings.Repeat("x", 80<<10) + "\r\n\r\n": "HTTP/1.1 431 ",
		"GARBAGE\r\n\r\n":                                                                  "HTTP/1.1 400 ",
	} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(conn, request)
		line, err := bufio.NewReader(conn).ReadString('\n')
		_ = conn.Close()
		if !strings.HasPrefix(line, want) {
			t.Errorf("%.40q is answered %q (%v), want %q", request, line, err, want)
		}
	}
}

func TestBearerToken(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{"Bearer abc": "abc", "bearer  abc ": "abc", "Bearer": "", "Bearer ": "", "Bearer  ": "", "Basic abc": "", "": "", "Bearerabc": ""} {
		h := http.Header{}
		h.Set("Authorization", value)
		if got, ok := httpapi.BearerToken(h); got != want || ok != (want != "") {
			t.Errorf("%q gives %q, %v", value, got, ok)
		}
	}
	if _, ok := httpapi.BearerToken(http.Header{"Authorization": {"Bearer a", "Bearer b"}}); ok {
		t.Error("two headers are taken")
	}
}
