package compattest

import (
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// Reply is an answer, read to its end.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Send makes one request. header gives more headers; body "" sends none, any other gets
// the content type JSON unless header says otherwise.
func Send(t testing.TB, c *http.Client, method, url string, header http.Header, body string) Reply {
	t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, in)
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, values := range header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return Reply{resp.StatusCode, resp.Header, data}
}

// With is header, which may be nil, with one more of the name.
func With(header http.Header, name, value string) http.Header {
	header = header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header[name] = []string{value}
	return header
}

// Decoded is a JSON text as a value.
func Decoded[T any](t testing.TB, data []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return v
}

// Tool runs a client of another make in an empty directory and returns what it writes.
// env is what it finds set beside what the test has. It goes through no proxy.
func Tool(t testing.TB, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(append(cmd.Environ(), "no_proxy=*", "NO_PROXY=*"), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s ends with %v:\n%s", name, err, out)
	}
	return string(out)
}
