package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remuda-run/remuda/client"
)

// serve answers every request with answer.
func serve(t *testing.T, answer http.HandlerFunc) *client.Client {
	t.Helper()
	srv := httptest.NewServer(answer)
	t.Cleanup(srv.Close)
	c, err := client.New(srv.URL+"/", "token")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "localhost:1", "ftp://x", "http://", "http://a:b@c", "http://a?b", "http://a#b", "http://a b", "://"} {
		if _, err := client.New(bad, ""); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, good := range []string{"http://localhost:1", "https://host/", "https://host/prefix"} {
		if _, err := client.New(good, ""); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token" || r.Header.Get("User-Agent") != "remuda-client" || r.URL.EscapedPath() != "/v1/runtimes/a%2Fb" {
			t.Errorf("%s with %v", r.URL, r.Header)
		}
		_, _ = io.WriteString(w, `{"id":"rt_1","field_of_the_future":1}`)
	})
	rt, err := c.GetRuntime(context.Background(), "a/b")
	if err != nil || rt.Id != "rt_1" {
		t.Errorf("%+v, %v", rt, err)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status     int
		kind, body string
		want       string
		code       string
	}{
		"problem":   {429, "application/problem+json", `{"title":"busy","code":"exhausted","cause":"quota","remedy":"wait","fields":[{"field":"a","message":"b"}],"request_id":"r"}`, "busy: quota: a b (wait)", "exhausted"},
		"one field": {400, "application/problem+json; charset=utf-8", `{"title":"not valid: a is x","code":"invalid","cause":null,"remedy":null,"fields":[{"field":"a","message":"is x"}]}`, "not valid: a is x", "invalid"},
		"proxy":     {502, "text/html", "<html>", "the server answered 502 Bad Gateway (check that the address is a Remuda server's and what lies between)", "internal"},
		"redirect":  {302, "", "", "the server answered 302 Found (check that the address is a Remuda server's and what lies between)", "internal"},
		"lies":      {500, "application/problem+json", "{", "the server answered 500 Internal Server Error (check that the address is a Remuda server's and what lies between)", "internal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tc.kind)
				w.Header().Set("Retry-After", "3")
				w.Header().Set("Location", "http://127.0.0.1:1/")
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			_, err := c.Whoami(context.Background())
			p, ok := errors.AsType[*client.Problem](err)
			if !ok {
				t.Fatalf("got %v", err)
			}
			if err.Error() != tc.want || p.Status != tc.status || p.RetryAfter != 3*time.Second || !client.IsCode(fmt.Errorf("x: %w", err), tc.code) {
				t.Errorf("got %q with %+v", err, p)
			}
		})
	}
}

func TestRunning(t *testing.T) {
	t.Parallel()
	answer := func(body string) error {
		_, err := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, body)
		}).Whoami(context.Background())
		return err
	}
	if id, busy := client.Running(fmt.Errorf("x: %w", answer(`{"code":"conflict","reason":"runspace_busy","object":"ex_7"}`))); id != "ex_7" || !busy {
		t.Errorf("got %q, %v", id, busy)
	}
	for _, other := range []error{nil, errors.New("x"), answer(`{"code":"conflict"}`), answer(`{"code":"conflict","reason":"runspace_not_ready","object":"creating"}`)} {
		if id, busy := client.Running(other); id != "" || busy {
			t.Errorf("%v is taken for a busy runspace: %q", other, id)
		}
	}
}

const end = "event: end\ndata: {\"state\":\"success\",\"id\":\"ex_1\"}\n\n"

// TestFollow feeds the reader of streams with what servers and networks do.
func TestFollow(t *testing.T) {
	t.Parallel()
	event := func(seq int) string {
		return fmt.Sprintf("id: %d\nevent: output\ndata: {\"seq\":%d,\"stream\":\"stdout\",\"data\":\"%d \"}\n\n", seq, seq, seq)
	}
	for name, tc := range map[string]struct {
		answers []string // one for each connection; the last one repeats
		want    string
		fails   string
	}{
		"plain":        {[]string{event(1) + event(2) + end}, "1 2 ", ""},
		"heartbeats":   {[]string{":\n\n" + event(1) + ": x\n\n:\n\n" + end}, "1 ", ""},
		"crlf":         {[]string{strings.ReplaceAll(event(1)+end, "\n", "\r\n")}, "1 ", ""},
		"other events": {[]string{"event: new\ndata: x\n\nretry: 5\n\n" + event(1) + end}, "1 ", ""},
		"cut":          {[]string{event(1) + event(2)[:30], event(2), end}, "1 2 ", ""},
		"cut before":   {[]string{"", event(1) + end}, "1 ", ""},
		"doubled":      {[]string{event(1) + event(1) + event(2) + event(1) + end}, "1 2 ", ""},
		"gap":          {[]string{event(1) + event(3), event(2) + event(3) + end}, "1 2 3 ", ""},
		"two data":     {[]string{"event: output\ndata: {\"seq\":1,\ndata: \"data\":\"1 \"}\n\n" + end}, "1 ", ""},
		"nothing":      {[]string{end}, "", ""},
		"garbage":      {[]string{"event: output\ndata: x\n\n", event(1) + end}, "1 ", ""},
		"unavailable":  {[]string{"503", event(1) + end}, "1 ", ""},
		"forbidden":    {[]string{event(1), "403"}, "1 ", "403"},
		"internal":     {[]string{event(1), "500"}, "1 ", "500"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				answer := tc.answers[min(int(n.Add(1))-1, len(tc.answers)-1)]
				if len(answer) == 3 {
					var status int
					_, _ = fmt.Sscan(answer, &status)
					w.WriteHeader(status)
					return
				}
				_, _ = io.WriteString(w, answer)
			})
			var got string
			ex, err := c.Follow(context.Background(), "ex_1", 0, func(r client.OutputRecord) error {
				got += string(client.Bytes(r))
				return nil
			})
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if tc.fails == "" && (err != nil || ex.State != "success") {
				t.Errorf("state %q, %v", ex.State, err)
			}
			if tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails)) {
				t.Errorf("got %v, want %s", err, tc.fails)
			}
		})
	}
}

// TestImportsNothingInternal keeps the client usable from other modules.
func TestImportsNothingInternal(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(out), "\n") {
		if strings.HasPrefix(line, "github.com/remuda-run/remuda/internal/") {
			t.Errorf("the client depends on %s", line)
		}
	}
}
