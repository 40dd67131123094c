package attempts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// house is one server with two organizations.
type house struct {
	server *harness.Server
	admin  *tenant // of the site
	a, b   *tenant // administrators of two organizations

	mu       sync.Mutex
	runtimes map[string]string
	refused  map[string]string // class of isolation -> why it cannot be used
	counter  atomic.Int64
	memo     sync.Map // results of programs that serve several rows
	facts    facts
	cleanup  func(func())
}

// tenant speaks to the API as one user of one organization.
type tenant struct {
	name, organization string
	user, password     string
	token              string
	mark               string // id of its requests, "" for ids of the server's
	base               func() string
	http               *http.Client
}

func openHouse(t *testing.T) *house {
	t.Helper()
	return furnish(t, harness.Start(t, "--parallel-cold", "8"))
}

// furnish makes two organizations on a server.
func furnish(t *testing.T, s *harness.Server) *house {
	t.Helper()
	h := &house{server: s, runtimes: map[string]string{}, refused: map[string]string{}, cleanup: t.Cleanup}
	base := func() string { return s.Base }
	h.admin = &tenant{name: "site", token: s.Token, base: base, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	t.Cleanup(h.admin.http.CloseIdleConnections)
	h.a, h.b = h.organization(t, "acme"), h.organization(t, "bond")
	for _, class := range []string{process, gvisor} {
		if err := h.checkClass(class); err != nil {
			h.refused[class] = err.Error()
		}
	}
	h.facts = gatherFacts(t, h)
	return h
}

// organization makes an organization with an administrator.
func (h *house) organization(t *testing.T, name string) *tenant {
	t.Helper()
	var made struct{ ID string }
	h.admin.must(t, http.MethodPost, "/v1/organizations", harness.JSON{"name": name}, &made)
	boss := h.user(t, name, name+"-boss", "administrator")
	boss.organization = made.ID
	return boss
}

// user makes a user with a role in an organization.
func (h *house) user(t *testing.T, organization, name, role string) *tenant {
	t.Helper()
	u := &tenant{name: name, user: name, password: "correct horse " + name, organization: organization, base: h.admin.base, http: h.admin.http}
	h.admin.must(t, http.MethodPost, "/v1/users", harness.JSON{"name": name, "password": u.password}, nil)
	h.admin.must(t, http.MethodPut, "/v1/organizations/"+organization+"/members/"+name, harness.JSON{"role": role}, nil)
	u.token = u.newToken(t, harness.JSON{"name": "test", "scope": "write"})
	return u
}

// newToken logs in with the password.
func (a *tenant) newToken(t *testing.T, body harness.JSON) string {
	t.Helper()
	var made struct{ Token string }
	got := a.ask(t, http.MethodPost, "/v1/tokens", body, func(r *http.Request) { r.SetBasicAuth(a.user, a.password) })
	got.decode(t, http.StatusCreated, &made)
	return made.Token
}

// with returns the same tenant with another token.
func (a *tenant) with(token string) *tenant {
	other := *a
	other.token = token
	return &other
}

// marked returns the same tenant with requests that are known by a word in the log.
func (a *tenant) marked(word string) *tenant {
	other := *a
	other.mark = word
	return &other
}

// answer is what the server said.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
	what   string
}

// Code is the code of a problem.
func (a *answer) Code() string {
	var p harness.Problem
	_ = json.Unmarshal(a.Body, &p) // not every answer is a problem
	return p.Code
}

func (a *answer) String() string {
	s := fmt.Sprint(a.Status)
	if code := a.Code(); code != "" {
		s += " " + code
	}
	return s
}

func (a *answer) decode(t *testing.T, status int, out any) {
	t.Helper()
	if a.Status != status {
		t.Fatalf("%s answered %d: %.2000s", a.what, a.Status, a.Body)
	}
	if out != nil {
		if err := json.Unmarshal(a.Body, out); err != nil {
			t.Fatalf("%s: %v in %.500s", a.what, err, a.Body)
		}
	}
}

// ask makes one request; only a failure of the transport fails the test.
func (a *tenant) ask(t testing.TB, method, path string, in any, edit ...func(*http.Request)) *answer {
	t.Helper()
	got, err := a.try(t, method, path, in, edit...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return got
}

// try makes one request and may be called from several goroutines.
func (a *tenant) try(t testing.TB, method, path string, in any, edit ...func(*http.Request)) (*answer, error) {
	t.Helper()
	var body io.Reader
	kind := ""
	switch in := in.(type) {
	case nil:
	case io.Reader:
		body, kind = in, "application/octet-stream"
	case []byte:
		body, kind = bytes.NewReader(in), "application/json"
	default:
		raw, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body, kind = bytes.NewReader(raw), "application/json"
	}
	req, err := http.NewRequestWithContext(t.Context(), method, a.base()+path, body)
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	if a.mark != "" {
		req.Header.Set("X-Request-Id", a.mark)
	}
	for _, f := range edit {
		f(req)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	return &answer{resp.StatusCode, resp.Header, raw, method + " " + path}, nil
}

// must makes a request that has to succeed.
func (a *tenant) must(t testing.TB, method, path string, in, out any) *answer {
	t.Helper()
	got := a.ask(t, method, path, in)
	if got.Status >= http.StatusMultipleChoices {
		t.Fatalf("%s %s answered %d: %.2000s", method, path, got.Status, got.Body)
	}
	if out != nil {
		if err := json.Unmarshal(got.Body, out); err != nil {
			t.Fatalf("%s %s: %v in %.500s", method, path, err, got.Body)
		}
	}
	return got
}

// refusal says why a class of isolation cannot be used here, "" if it can.
func (h *house) refusal(class string) string { return h.refused[class] }

// ownKernel is what is wrong with a class that is no fence of its own.
const ownKernel = "the sandbox runs on the machine's own kernel"

// checkClass makes a runtime of the class and runs in it.
func (h *house) checkClass(class string) error {
	if class == process {
		return nil // the whole product rests on it: what fails there fails
	}
	definition := harness.JSON{"name": "probe-" + class, "language": "python", "isolation": class}
	var p harness.Problem
	if err := h.server.Try(http.MethodPost, "/v1/runtimes", definition, nil); errors.As(err, &p) {
		return fmt.Errorf("isolation %s: %s", class, p.Title)
	} else if err != nil {
		return err
	}
	var ex harness.Execution
	if err := h.server.Try(http.MethodPost, "/v1/executions?wait=60s", harness.JSON{"runtime": "probe-" + class, "script": "open('/proc/version').read()"}, &ex); err != nil {
		return fmt.Errorf("isolation %s: %w", class, err)
	}
	if ex.State != "success" {
		return fmt.Errorf("isolation %s: %s", class, ex.Reason)
	}
	if host, err := os.ReadFile("/proc/version"); err != nil || ex.Value == nil || strings.Contains(ex.Value.Text, strings.Fields(string(host))[2]) {
		return fmt.Errorf("isolation %s: %s: %v", class, ownKernel, ex.Value)
	}
	return nil
}

// eventually polls a condition with a generous deadline.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// short bounds a text for the table.
func short(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 100 {
		return s[:97] + "..."
	}
	return s
}
