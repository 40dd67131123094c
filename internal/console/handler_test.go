package console

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/httpapi"
)

func get(t *testing.T, method, target string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	h, err := Handler(httpapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPages(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		request string
		status  int
		want    string
	}{
		"a terminal":        {"GET /console/terminals/trm_01abcDEF", 200, "<title>Terminal"},
		"a console":         {"GET /wc0123456789ab", 200, "<title>Terminal"},
		"its head":          {"HEAD /wc0123456789ab", 200, ""},
		"a script":          {"GET /console/assets/terminal.js", 200, "remuda.terminal.v1"},
		"a style":           {"GET /console/assets/xterm.css", 200, ".xterm"},
		"no terminal":       {"GET /console/terminals/x%22y", 404, "not_found"},
		"no console":        {"GET /wc0123", 404, "not_found"},
		"no asset":          {"GET /console/assets/LICENSE", 404, "not_found"},
		"above":             {"GET /console/assets/..%2fterminal.html", 404, ""},
		"the prefix":        {"GET /console/", 404, "not_found"},
		"a name at the top": {"GET /terminal.js", 404, "not_found"},
		"a change":          {"POST /wc0123456789ab", 405, "method_not_allowed"},
	} {
		method, target, _ := strings.Cut(c.request, " ")
		w := get(t, method, target)
		if w.Code != c.status && !(name == "above" && w.Code == 400) || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %.200s", name, w.Code, w.Body)
		}
	}
	if !Serves("/wc0123456789ab", true) || Serves("/wc0123456789ab", false) || Serves("/v1/terminals", true) || !Serves("/console/x", false) {
		t.Error("it serves what is not its own")
	}
}

// TestPolicy wants a page that needs no exception from its policy: nothing inline,
// nothing from elsewhere.
func TestPolicy(t *testing.T) {
	t.Parallel()
	w := get(t, http.MethodGet, "/wc0123456789ab")
	got := w.Header().Get("Content-Security-Policy")
	if got != policy || strings.Contains(got, "unsafe") || strings.Contains(got, "*") || !strings.Contains(got, "default-src 'none'") {
		t.Errorf("the policy is %q", got)
	}
	page := w.Body.String()
	if !regexp.MustCompile(`<script src=`).MatchString(page) {
		t.Error("the page has no script at all")
	}
	for _, inline := range []string{`<script[^>]*>[^<]`, `<style`, ` style=`, ` on[a-z]+=`, `(src|href)="(https?:)?//`} {
		if found := regexp.MustCompile(inline).FindString(page); found != "" {
			t.Errorf("the page has %q", found)
		}
	}
	for _, m := range regexp.MustCompile(`(?:src|href)="(/[^"]+)"`).FindAllStringSubmatch(page, -1) {
		if asset := get(t, http.MethodGet, m[1]); asset.Code != http.StatusOK || asset.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d", m[1], asset.Code)
		}
	}
	again := get(t, http.MethodGet, "/wc0123456789ab", "If-None-Match", w.Header().Get("ETag"))
	if again.Code != http.StatusNotModified || again.Body.Len() > 0 {
		t.Errorf("asked for again: %d with %d bytes", again.Code, again.Body.Len())
	}
}

// TestVersions compares the vendored files with what the table says of them.
func TestVersions(t *testing.T) {
	t.Parallel()
	table, err := assets.ReadFile("assets/VERSIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := assets.ReadDir("assets/xterm")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "LICENSE") {
			continue
		}
		content, err := assets.ReadFile("assets/xterm/" + entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		if !strings.Contains(string(table), "| xterm/"+entry.Name()+" |") || !strings.Contains(string(table), hex.EncodeToString(sum[:])) {
			t.Errorf("VERSIONS.md does not describe xterm/%s with %x", entry.Name(), sum)
		}
		seen++
	}
	if seen != 3 {
		t.Errorf("%d files", seen)
	}
}
