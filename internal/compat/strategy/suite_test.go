package strategy_test

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/compat/compattest"
	"github.com/remuda-run/remuda/internal/compat/strategy"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

var update = flag.Bool("update", false, "write the golden files")

const (
	prefix  = "/MicroStrategyLibrary"
	known   = "0F35652CA7D041978BF0CBCB67531203" // the default runtime
	absent  = "00000000000000000000000000000000"
	project = "B7CA92F04B9FAE8D941C3E9B7E0CD754"
)

var spec = sync.OnceValues(func() (*compattest.Spec, error) { return compattest.NewSpec(api.Strategy(), prefix) })

func mustSpec(t testing.TB) *compattest.Spec {
	t.Helper()
	s, err := spec()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func handler(versions remuda.VersionPolicy) func(compattest.Services, httpapi.Options) (http.Handler, error) {
	return func(s compattest.Services, o httpapi.Options) (http.Handler, error) {
		return strategy.Handler(strategy.Services{
			Logins: s.Organizations, Sessions: s.Organizations, Organizations: s.Organizations, Runtimes: s.Runtimes, Scripts: s.Scripts,
		}, strategy.Options{HTTP: o, Prefix: prefix, Versions: versions, SessionTimeout: 30 * time.Minute})
	}
}

func start(t *testing.T) *compattest.Site {
	t.Helper()
	return compattest.NewSite(t, handler(remuda.VersionCompatible))
}

func login(t *testing.T, s *compattest.Site, user string) http.Header {
	t.Helper()
	body := fmt.Sprintf(`{"username":%q,"password":%q}`, user, compattest.Password)
	r := s.Send(mustSpec(t).Client(t), http.MethodPost, prefix+"/api/auth/login", nil, body)
	if r.Status != http.StatusNoContent {
		t.Fatalf("login of %s: %d\n%s", user, r.Status, r.Body)
	}
	return http.Header{"X-Mstr-Authtoken": {r.Header.Get("X-MSTR-AuthToken")}, "X-Mstr-Projectid": {project}}
}

var ticket = regexp.MustCompile(`^[0-9a-f]{32}$`)

// vendorError is the error body, and nothing else.
type vendorError struct {
	Code     string `json:"code"`
	Message  string `json:"message"`
	TicketID string `json:"ticketId"`
}

func errorOf(r compattest.Reply) (e vendorError, err error) {
	dec := json.NewDecoder(strings.NewReader(string(r.Body)))
	dec.DisallowUnknownFields()
	err = dec.Decode(&e)
	switch {
	case err != nil:
		return e, err
	case !regexp.MustCompile(`^ERR\d{3}$`).MatchString(e.Code) || e.Message == "" || !ticket.MatchString(e.TicketID):
		return e, fmt.Errorf("it is no error of the vendor's: %+v", e)
	case r.Header.Get("Content-Type") != "application/json":
		return e, fmt.Errorf("its content type is %s", r.Header.Get("Content-Type"))
	}
	return e, nil
}

func encoded(source string) string { return base64.StdEncoding.EncodeToString([]byte(source)) }

func door() compattest.Door {
	content := encoded("value 1")
	return compattest.Door{
		Prefix: prefix, Start: start, Login: login, Absent: absent, Credentials: []string{"X-MSTR-AuthToken"},
		CheckError: func(r compattest.Reply) error {
			_, err := errorOf(r)
			return err
		},
		Objects: func(t *testing.T, s *compattest.Site, h http.Header) map[string]string {
			t.Helper()
			made := func(path, body string) string {
				t.Helper()
				r := s.Send(mustSpec(t).Client(t), http.MethodPost, prefix+path, h, body)
				var got struct{ ID string }
				if err := json.Unmarshal(r.Body, &got); err != nil || got.ID == "" {
					t.Fatalf("POST %s: %d\n%s", path, r.Status, r.Body)
				}
				return got.ID
			}
			run := made("/api/scripts/evaluation", `{"scriptContent":"`+content+`"}`)
			for clock := compattest.Deadline(); clock.Left(); { // its end is recorded too
				if r := s.Send(&http.Client{}, http.MethodGet, prefix+"/api/scripts/evaluation/"+run, h, ""); strings.Contains(string(r.Body), `"status":3`) {
					break
				}
			}
			script := made("/api/scripts", `{"name":"s","scriptContent":"`+content+`","variables":[{"id":"v","name":"x"}]}`)
			return map[string]string{
				"/api/runtimes/{id}":                  "/api/runtimes/" + made("/api/runtimes", `{"name":"r"}`),
				"/api/scripts/{id}":                   "/api/scripts/" + script,
				"/api/scripts/{id}/evaluation":        "/api/scripts/" + script + "/evaluation",
				"/api/scripts/{id}/variables/answers": "/api/scripts/" + script + "/variables/answers",
				"/api/scripts/evaluation/{id}":        "/api/scripts/evaluation/" + run,
			}
		},
		Bodies: map[string]string{
			"login": `{"username":"x","password":"y"}`, "delegate": `{"loginMode":"-1","identityToken":"x"}`, "createRuntime": `{"name":"new"}`, "updateRuntime": `{"description":"new"}`,
			"createScript": `{"name":"new"}`, "updateScript": `{"description":"new"}`, "evaluate": `{"scriptContent":"` + content + `"}`, "evaluateScript": `{}`, "putAnswers": `{"answers":[{"id":"v","value":"1"}]}`,
		},
	}
}

func TestDoor(t *testing.T) {
	t.Parallel()
	d := door()
	d.Spec = mustSpec(t)
	compattest.Run(t, d)
}

func TestExchanges(t *testing.T) {
	t.Parallel()
	final := func(r compattest.Reply) bool {
		return regexp.MustCompile(`"status":[3456]`).Match(r.Body) || r.Status != http.StatusOK
	}
	compattest.Golden{
		Prefix: prefix, Start: start, Client: mustSpec(t).Client(t), Update: *update, Headers: []string{"X-MSTR-AuthToken", "X-MSTR-IdentityToken", "Set-Cookie", "Allow"},
		Volatile: map[string]*regexp.Regexp{
			"token": regexp.MustCompile(`rmd_[0-9a-f]{64}`),
			"id":    regexp.MustCompile(`\b[0-9A-F]{32}\b`),
		},
		Blurred: map[string]*regexp.Regexp{
			"ticket": regexp.MustCompile(`\b[0-9a-f]{32}\b`),
			"time":   regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+(\+0000|Z)`),
		},
		Known: []string{known, absent, project, "D3C7D461F69C4610AA6BAA5EF51F4125", "54F3D26011D2896560009A8E67019608"},
		Until: map[string]func(compattest.Reply) bool{"result": final, "result of the script": final, "result of the failure": final, "result that stays": final},
	}.Run(t)
}
