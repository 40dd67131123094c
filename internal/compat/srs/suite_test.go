package srs_test

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/audit"
	"github.com/remuda-run/remuda/internal/compat/compattest"
	"github.com/remuda-run/remuda/internal/compat/srs"
	"github.com/remuda-run/remuda/internal/httpapi"
)

var update = flag.Bool("update", false, "write the golden files")

const (
	absent       = "00000000-0000-0000-0000-000000000000"
	missingSpace = "pcli-" + absent
	headerKey    = "X-SRS-API-KEY"
)

var spec = sync.OnceValues(func() (*compattest.Spec, error) { return compattest.NewSpec(api.SRS(), "") })

func mustSpec(t testing.TB) *compattest.Spec {
	t.Helper()
	s, err := spec()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func start(t *testing.T) *compattest.Site {
	t.Helper()
	return compattest.NewSite(t, func(s compattest.Services, o httpapi.Options) (http.Handler, error) {
		return srs.Handler(srs.Services{
			Logins: s.Organizations, Sessions: s.Organizations, Runspaces: s.Runspaces, Executions: s.Executions, Terminals: s.Terminals, Limits: s.Organizations, Audit: audit.New(s.Store),
		},
			srs.Options{HTTP: o, Runtime: "python", SessionTimeout: 30 * time.Minute})
	})
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// login returns the headers of a session, and of the administrator's calls.
func login(t *testing.T, s *compattest.Site, user string) http.Header {
	t.Helper()
	h := http.Header{"Authorization": {basic(user, compattest.Password)}}
	r := s.Send(mustSpec(t).Client(t), http.MethodPost, "/api/auth/login", h, "")
	if r.Status != http.StatusOK || len(r.Body) != 0 {
		t.Fatalf("login of %s: %d\n%s", user, r.Status, r.Body)
	}
	h.Set(headerKey, r.Header.Get(headerKey))
	return h
}

// vendorError is an error of the vendor's, and a problem besides where that is
// promised.
type vendorError struct {
	Code    int    `json:"code"`
	Message string `json:"error_message"`
	Details string `json:"details"`

	Type    string              `json:"type"`
	Title   string              `json:"title"`
	Status  int                 `json:"status"`
	TraceID string              `json:"traceId"`
	Errors  map[string][]string `json:"errors"`
}

func errorOf(r compattest.Reply) (e vendorError, err error) {
	dec := json.NewDecoder(strings.NewReader(string(r.Body)))
	dec.DisallowUnknownFields()
	err = dec.Decode(&e)
	problem := r.Status == http.StatusBadRequest || r.Status == http.StatusUnsupportedMediaType
	switch {
	case err != nil:
		return e, err
	case e.Code == 0 || e.Message == "" || problem != (e.Title != "" && e.Status == r.Status && e.TraceID != "" && e.Errors != nil):
		return e, fmt.Errorf("it is no error of the vendor's: %+v", e)
	case r.Header.Get("Content-Type") != "application/json":
		return e, fmt.Errorf("its content type is %s", r.Header.Get("Content-Type"))
	}
	return e, nil
}

func door() compattest.Door {
	return compattest.Door{
		Start: start, Login: login, Absent: absent, Credentials: []string{headerKey, "Authorization"},
		Private: true, Shared: []string{"/api/argument-scripts/templates/{id}"},
		NotFound: map[string]int{"delete-runspace": http.StatusInternalServerError, "delete-webconsole": http.StatusInternalServerError},
		CheckError: func(r compattest.Reply) error {
			_, err := errorOf(r)
			return err
		},
		Objects: objects,
		Bodies: map[string]string{
			"create-runspace": `{"name":"new","run_vc_connection_script":false,"credentials":{"a":"b"}}`, "create-script-execution": `{"runspace_id":"` + missingSpace + `","script":"value 1","name":"n","script_parameters":[],"output_objects_format":"text"}`,
			"create-argument-scripts-script": `{"template_id":"python-literal","template_placeholder_value_list":[{"values":[{"placeholder_name":"value","value":["a"]}]}]}`,
			"update-provider-settings":       `{"max_number_of_runspaces":5,"max_runspace_idle_time_minutes":10,"max_runspace_active_time_minutes":"60"}`,
			"update-retention-policy":        `{"max_number_of_scripts_per_user":30,"no_older_than_days":5}`,
			"register-vc":                    `{"address":"a"}`,
		},
	}
}

// objects makes a runspace in which a script has run.
func objects(t *testing.T, s *compattest.Site, h http.Header) map[string]string {
	t.Helper()
	c := mustSpec(t).Client(t)
	posted := func(path, body string) map[string]any {
		t.Helper()
		r := s.Send(c, http.MethodPost, path, h, body)
		var got map[string]any
		if err := json.Unmarshal(r.Body, &got); err != nil || r.Status != http.StatusAccepted {
			t.Fatalf("POST %s: %d\n%s", path, r.Status, r.Body)
		}
		return got
	}
	until := func(path, word string) {
		t.Helper()
		for clock := compattest.Deadline(); clock.Left(); {
			if r := s.Send(c, http.MethodGet, path, h, ""); strings.Contains(string(r.Body), `"state":"`+word+`"`) {
				return
			}
		}
		t.Fatalf("%s is never %s", path, word)
	}
	runspace := posted("/api/runspaces", `{"name":"theirs"}`)["id"].(string)
	until("/api/runspaces/"+runspace, "ready")
	run := posted("/api/script-executions", `{"runspace_id":"`+runspace+`","script":"value 1"}`)["id"].(string)
	until("/api/script-executions/"+run, "success")
	paths := map[string]string{"/api/runspaces/{id}": "/api/runspaces/" + runspace}
	for _, tail := range []string{"", "/cancel", "/output"} {
		paths["/api/script-executions/{id}"+tail] = "/api/script-executions/" + run + tail
	}
	paths["/api/script-executions/{id}/streams/{type}"] = "/api/script-executions/" + run + "/streams/warning"
	console := s.Send(c, http.MethodPost, "/api/webconsoles?wait=true", h, "")
	var made struct{ ID string }
	if err := json.Unmarshal(console.Body, &made); err != nil || made.ID == "" {
		t.Fatalf("POST /api/webconsoles: %d\n%s", console.Status, console.Body)
	}
	paths["/api/webconsoles/{id}"] = "/api/webconsoles/" + made.ID
	return paths
}

func TestDoor(t *testing.T) {
	t.Parallel()
	d := door()
	d.Spec = mustSpec(t)
	compattest.Run(t, d)
}
