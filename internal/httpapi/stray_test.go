package httpapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const strayKey = "8c0b4bd4-5a36-4bd1-9d5e-3f6f0a1b2c3d"

// strayServer answers with the key that it was sent.
func strayServer(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "key=%q body=%q", r.Header.Get("X-Key"), body)
	}), nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(TolerateReturns(l, "X-Key", "/api/"))
	}()
	t.Cleanup(func() {
		_ = srv.Shutdown(context.Background())
		<-done
	})
	return l.Addr().String()
}

func strayAnswer(t *testing.T, address string, pieces ...string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, piece := range pieces {
		if _, err := io.WriteString(conn, piece); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestTolerateReturns(t *testing.T) {
	t.Parallel()
	address := strayServer(t)
	const head, end = "Host: x\r\nConnection: close\r\n", "\r\n\r\n"
	good, refused := `key="`+strayKey+`"`, " 400 Bad Request"
	for name, c := range map[string]struct {
		request []string
		want    string
	}{
		"none":                      {[]string{"GET /api/x HTTP/1.1\r\n" + head + "X-Key: " + strayKey + end}, good},
		"a stray one":               {[]string{"GET /api/x HTTP/1.1\r\n" + head + "X-KEY: " + strayKey + "\r" + end}, good},
		"in pieces":                 {[]string{"GET /api/x HTTP/1.1\r", "\n" + head + "X-Key: " + strayKey + "\r", "\r", "\n", "\r", "\n"}, good},
		"with a body":               {[]string{"POST /api/x HTTP/1.1\r\n" + head + "Content-Length: 9\r\nX-Key: " + strayKey + "\r" + end + "X-Key:a\r\r"}, `body="X-Key:a\r\r"`},
		"two":                       {[]string{"GET /api/x HTTP/1.1\r\n" + head + "X-Key: " + strayKey + "\r\r" + end}, refused},
		"in the middle":             {[]string{"GET /api/x HTTP/1.1\r\n" + head + "X-Key: a\rb" + end}, refused},
		"in another header":         {[]string{"GET /api/x HTTP/1.1\r\n" + head + "X-Other: a\r" + end}, refused},
		"at another path":           {[]string{"GET /v1/x HTTP/1.1\r\n" + head + "X-Key: " + strayKey + "\r" + end}, refused},
		"in a request line":         {[]string{"GET /api/x HTTP/1.1\r\r\n" + head + end[2:]}, refused},
		"in the end of the headers": {[]string{"GET /api/x HTTP/1.1\r\n" + head + "\r\r\n"}, refused},
		"in a second request":       {[]string{"GET /api/x HTTP/1.1\r\nHost: x\r\n\r\nGET /api/x HTTP/1.1\r\n" + head + "X-Key: " + strayKey + "\r" + end}, refused},
	} {
		if got := strayAnswer(t, address, c.request...); !strings.Contains(got, c.want) {
			t.Errorf("%s: got\n%s\nwant %q", name, got, c.want)
		}
	}
}

// passed is what comes of data in pieces of a size.
func passed(data []byte, size int) []byte {
	s := strays{header: "x-key:", prefix: "/api/"}
	var out []byte
	for len(data) > 0 {
		p := bytes.Clone(data[:min(size, len(data))])
		data = data[len(p):]
		n := s.pass(p)
		out = append(out, p[:n]...)
		out = append(out, s.held...)
		s.held = nil
	}
	last := make([]byte, len(data)+s.back+1)
	s.over = true
	return append(out, last[:s.give(last)]...)
}

// FuzzTolerateReturns: whatever comes, in whatever pieces, the same goes on but for
// spaces in the place of strays.
func FuzzTolerateReturns(f *testing.F) {
	f.Add([]byte("GET /api/x HTTP/1.1\r\nX-Key: a\r\r\n\r\nbody"), 1)
	f.Add([]byte("GET /api/x HTTP/1.1\nX-Key: a\r\r\n\n\r\r\r"), 3)
	f.Add([]byte("\r\r\r\n\r\r"), 2)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		size = max(1, size%64)
		got := passed(data, size)
		if !bytes.Equal(got, passed(data, len(data)+1)) {
			t.Fatal("the pieces matter")
		}
		if len(got) != len(data) {
			t.Fatalf("%d bytes became %d", len(data), len(got))
		}
		for i := range got {
			if got[i] == data[i] {
				continue
			}
			line := data[bytes.LastIndexByte(data[:i], '\n')+1:]
			if data[i] != '\r' || got[i] != ' ' || !bytes.HasPrefix(data[i:], []byte("\r\r\n")) || !strings.EqualFold(string(line[:6]), "x-key:") || bytes.HasPrefix(data, line) {
				t.Fatalf("byte %d of %q became %q", i, data, got[i])
			}
		}
	})
}

// With TLS nothing is forgiven: http.Server wants such connections as they are, or it
// speaks no HTTP/2.
func TestReturnsWithTLS(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "key=%q", r.Header.Get("X-Key"))
	}))
	srv.EnableHTTP2 = true
	srv.Listener = TolerateReturns(srv.Listener, "X-Key", "/api/")
	srv.StartTLS()
	defer srv.Close()
	roots := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	conn, err := tls.Dial("tcp", srv.Listener.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "example.com", NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /api/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Key: "+strayKey+"\r\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
		t.Errorf("it is answered with %q (%v)", answer, err)
	}
	// HTTP/2 has names in lower case, which are taken like any.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/api/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header["x-key"] = []string{strayKey}
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.ProtoMajor != 2 || !strings.Contains(string(body), strayKey) {
		t.Errorf("over %s it is %q (%v)", resp.Proto, body, err)
	}
}
