package native

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

func TestFiles(t *testing.T) {
	t.Parallel()
	id := remuda.RunspaceID("rs_1")
	files := map[string]string{"in.csv": "a,b\n", "d/ä \"x\".html": "<script>", "empty": ""}
	runScenarios(t, httpapi.Options{}, []scenario{
		{name: "list", request: "GET /v1/runspaces/rs_1/files", status: 200, want: []string{`{"items":[{"mode":"0600","modified_at":"2026-11-22T08:00:00.123456Z","path":"a","size":1,"type":"file"}],"next":null}`}, asked: []any{id, ""}},
		{name: "list a directory", request: "GET /v1/runspaces/rs_1/files/a/b/", status: 200, asked: []any{id, "a/b"}},
		{name: "read", stage: stage{files: files}, request: "GET /v1/runspaces/rs_1/files/in.csv", status: 200, want: []string{"a,b\n", "Content-Type: application/octet-stream", "Content-Disposition: attachment; filename=in.csv", "X-Content-Type-Options: nosniff", "Content-Length: 4", "Last-Modified: Sun, 22 Nov 2026 08:00:00 GMT"}},
		{name: "read an odd name", stage: stage{files: files}, request: "GET /v1/runspaces/rs_1/files/d/%C3%A4%20%22x%22.html", status: 200, want: []string{"<script>", "attachment; filename*=utf-8''%C3%A4%20%22x%22.html"}, asked: []any{id, "d/ä \"x\".html"}},
		{name: "read an empty one", stage: stage{files: files}, request: "GET /v1/runspaces/rs_1/files/empty", status: 200, want: []string{"Content-Length: 0"}},
		{name: "head", stage: stage{files: files}, request: "HEAD /v1/runspaces/rs_1/files/in.csv", status: 200, want: []string{"Content-Length: 4"}, never: []string{"a,b"}},
		{name: "read nothing", request: "GET /v1/runspaces/rs_1/files/nothing", status: 404, never: []string{"Content-Disposition"}},
		{name: "write", request: "PUT /v1/runspaces/rs_1/files/a/b.bin", body: "\xff\x00", header: []string{"Content-Type", "application/octet-stream"}, status: 200, want: []string{`"size":2`}, asked: []any{id, "a/b.bin", "\xff\x00"}},
		{name: "write nothing of no type", request: "PUT /v1/runspaces/rs_1/files/e", status: 200, asked: []any{id, "e", ""}},
		{name: "write an encoded one", request: "PUT /v1/runspaces/rs_1/files/e", body: "x", header: []string{"Content-Encoding", "gzip"}, status: 400},
		{name: "write a directory", request: "PUT /v1/runspaces/rs_1/files/e/", body: "x", status: 400, want: []string{"no empty segment"}},
		{name: "disk is full", stage: fail(remuda.CodeTooLarge), request: "PUT /v1/runspaces/rs_1/files/e", body: "x", status: 413},
		{name: "delete", request: "DELETE /v1/runspaces/rs_1/files/a/b", status: 204, asked: []any{id, "a/b"}},
		{name: "delete a directory", request: "DELETE /v1/runspaces/rs_1/files/a/", status: 204, asked: []any{id, "a"}},
		{name: "delete everything", request: "DELETE /v1/runspaces/rs_1/files", status: 405},
	})
}

// TestPathsThatLeave tries every spelling of a way out; none may reach the service.
func TestPathsThatLeave(t *testing.T) {
	t.Parallel()
	const base = "/v1/runspaces/rs_1/files/"
	for _, path := range []string{
		"../x", "..", "a/../../x", "..%2fx", "%2e%2e/x", "%2e%2e%2fx", "a/..%2f..%2fx", ".%2e/x", "a%2f..", "./x", "a/./b", "%2e", "%2e/",
		"%2fetc%2fpasswd", "//etc/passwd", "a//b", "a%2f%2fb", "a%00b", "%00", "a%0ab", "a%0d%0aX:y", "a%7fb", "a%1bb", "/",
		strings.Repeat("a/", 2047) + "ab", strings.Repeat("b", 256), "%2F", "a/%2F", "..%2f",
	} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			st := stage{files: map[string]string{}}
			w := do(st.handler(t, httpapi.Options{}), method, base+path, "")
			want := http.StatusBadRequest
			if w.Code != want || !strings.Contains(w.Body.String(), `"code":"invalid"`) {
				t.Errorf("%s %s answers %d\n%s", method, path, w.Code, w.Body)
			}
			if st.last() != nil {
				t.Errorf("%s %s reaches the service with %q", method, path, st.last())
			}
		}
	}
	// What only looks like a way out is a name like any other.
	for _, path := range []string{"...", "..a", "a..", "%252e%252e", "a%5c..%5cb", "~", "-rf", strings.Repeat("b", 255), strings.Repeat("a/", 2047) + "a"} {
		st := stage{}
		if w := do(st.handler(t, httpapi.Options{}), "DELETE", base+path, ""); w.Code != http.StatusNoContent {
			t.Errorf("%s answers %d\n%s", path, w.Code, w.Body)
		}
	}
}

// TestUploadIsBounded sends more than a file may have, with and without saying so.
func TestUploadIsBounded(t *testing.T) {
	t.Parallel()
	st := stage{}
	h := st.handler(t, httpapi.Options{})
	for _, announced := range []int64{remuda.MaxFileBytes + 1, -1} {
		r := httptest.NewRequest(http.MethodPut, "/v1/runspaces/rs_1/files/big", io.LimitReader(zeros{}, remuda.MaxFileBytes+1))
		r.ContentLength = announced
		r.Header.Set("Authorization", "Bearer good")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("announced %d: answers %d", announced, w.Code)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// TestFileThatShrinks wants a download that cannot keep its length to be cut, so
// that the client cannot take a part for the whole.
func TestFileThatShrinks(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		content string
		whole   bool
	}{"shrinks": {"abc", false}, "grows": {"abcdefgh", true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := stage{long: func() (remuda.FileInfo, io.ReadCloser) {
				return remuda.FileInfo{Size: 5, Mode: 0o644, ModifiedAt: day}, io.NopCloser(strings.NewReader(tc.content))
			}}
			srv := httptest.NewServer(st.handler(t, httpapi.Options{}))
			defer srv.Close()
			r, err := http.NewRequest(http.MethodGet, srv.URL+"/v1/runspaces/rs_1/files/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer good")
			resp, err := srv.Client().Do(r)
			var got []byte
			if err == nil {
				got, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			if tc.whole && (err != nil || string(got) != "abcde") {
				t.Errorf("reads %q, %v", got, err)
			}
			if !tc.whole && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
				t.Errorf("reads %q without an error (%v)", got, err)
			}
		})
	}
}

func FuzzFilePath(f *testing.F) {
	for _, s := range []string{"a/b", "../x", "a%2f..", "a\x00", "\n", "/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if filePathProblem(name) != "" {
			return
		}
		if name == "" || strings.HasPrefix(name, "/") || strings.ContainsAny(name, "\x00\n\r") || len(name) > maxPath {
			t.Errorf("%q is taken", name)
		}
		for segment := range strings.SplitSeq(name, "/") {
			if segment == "" || segment == "." || segment == ".." {
				t.Errorf("%q is taken", name)
			}
		}
	})
}

// FuzzBodies sends foreign bodies to every operation that takes one: never a
// 500. (That no body is taken that the document forbids is FuzzCheck's part;
// kin-openapi is too slow to be asked for each of these.)
func FuzzBodies(f *testing.F) {
	f.Add(`{"runtime":"p","script":"x","files":[{"path":"a","content":""}]}`)
	f.Add(`{"name":"x","language":"node","pool":{}}`)
	f.Add(`{"name":"x","expires_at":"2027-01-01T00:00:00Z"}`)
	f.Fuzz(func(t *testing.T, body string) {
		st := stage{}
		h := st.bare(t, httpapi.Options{})
		for _, target := range []string{"POST /v1/executions", "POST /v1/runspaces", "POST /v1/runtimes", "PATCH /v1/runtimes/x", "POST /v1/tokens", "PATCH /v1/users/x", "PUT /v1/organizations/x/members/y"} {
			method, url, _ := strings.Cut(target, " ")
			r := httptest.NewRequest(method, url, bytes.NewReader([]byte(body)))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer good")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code >= 500 {
				t.Errorf("%s with %q answers %d: %s", target, body, w.Code, w.Body)
			}
		}
	})
}

// FuzzURL sends foreign paths and queries: never a 500 and never a redirect.
func FuzzURL(f *testing.F) {
	f.Add("/v1/executions/x/output", "after=1&wait=1s", "5")
	f.Add("/v1/runspaces/x/files/..%2f", "", "x")
	f.Fuzz(func(t *testing.T, path, query, eventID string) {
		r, err := http.NewRequest(http.MethodGet, "http://x/", nil)
		if err != nil {
			t.Fatal(err)
		}
		u, err := r.URL.Parse(path)
		if err != nil || u.Host != "x" {
			return
		}
		u.RawQuery = query
		r.URL = u
		r.Header.Set("Last-Event-ID", eventID)
		r.Header.Set("Accept", "text/event-stream")
		r.Header.Set("Authorization", "Bearer good")
		w := httptest.NewRecorder()
		st := stage{files: map[string]string{"a": "b"}}
		st.handler(t, httpapi.Options{}).ServeHTTP(w, r)
		if w.Code >= 500 || w.Code/100 == 3 && w.Code != http.StatusNotModified {
			t.Errorf("%s answers %d: %s", u, w.Code, w.Body)
		}
	})
}
