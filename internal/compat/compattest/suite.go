package compattest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Door is what the suite needs to know of a door.
type Door struct {
	Prefix string
	Spec   *Spec
	// Start makes a site that serves the door.
	Start func(t *testing.T) *Site
	// Login returns headers that say who is asking, a user of the site.
	Login func(t *testing.T, s *Site, user string) http.Header
	// Credentials are the headers of Login that say who is asking.
	Credentials []string
	// CheckError says why an answer is not an error in the vendor's form.
	CheckError func(Reply) error
	// Objects makes one object of each kind as the user whose headers are given, and
	// returns the paths below the prefix that name them, by the path of the document.
	Objects func(t *testing.T, s *Site, header http.Header) map[string]string
	// Absent is an id that no object has.
	Absent string
	// Shared are paths of the document whose objects are everybody's.
	Shared []string
	// Private says that objects are their user's, so that others of the organization
	// get the answer of what is not there.
	Private bool
	// NotFound are the statuses that say so other than 404, by operationId.
	NotFound map[string]int
	// Bodies are valid bodies, by operationId, of operations that need one.
	Bodies map[string]string
}

// Run runs the suite.
func Run(t *testing.T, d Door) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Door){
		"WithoutCredentials": withoutCredentials,
		"NothingThere":       nothingThere,
		"BadBodies":          badBodies,
		"Foreign":            foreign,
		"Roles":              roles,
		"OtherSites":         otherSites,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, d)
		})
	}
}

// deadline is generous: the machine may be busy.
const deadline = 2 * time.Minute

// Clock says how much time a test has left.
type Clock struct{ end time.Time }

// Deadline is a clock that has just begun.
func Deadline() Clock { return Clock{time.Now().Add(deadline)} }

// Left reports whether there is time left, after a pause as short as polling needs.
func (c Clock) Left() bool {
	time.Sleep(5 * time.Millisecond)
	return time.Now().Before(c.end)
}

// refused fails t unless an answer is an error of the vendor's with one of the
// statuses.
func (d Door) refused(t *testing.T, what string, r Reply, statuses ...int) {
	t.Helper()
	fits := len(statuses) == 0 && r.Status >= 400 && r.Status < 500
	for _, s := range statuses {
		fits = fits || r.Status == s
	}
	if !fits {
		t.Errorf("%s answers %d, want one of %v\n%s", what, r.Status, statuses, r.Body)
		return
	}
	if err := d.CheckError(r); err != nil {
		t.Errorf("%s: %v\n%s", what, err, r.Body)
	}
}

// fill puts an id in the place of every parameter of a path.
func fill(path, id string) string {
	for strings.Contains(path, "{") {
		before, rest, _ := strings.Cut(path, "{")
		_, after, _ := strings.Cut(rest, "}")
		path = before + id + after
	}
	return path
}

// Nobody gets anything but what is open, whatever the credentials look like.
func withoutCredentials(t *testing.T, d Door) {
	s := d.Start(t)
	before, c := s.Changes("ours"), d.Spec.Client(t)
	good := d.Login(t, s, "administrator.ours")
	for _, op := range d.Spec.Operations() {
		if op.Open() {
			continue
		}
		what := op.Method + " " + op.Path
		d.refused(t, what, s.Send(c, op.Method, d.Prefix+fill(op.Path, d.Absent), nil, d.Bodies[op.OperationID]), http.StatusUnauthorized)
		for name, mangle := range map[string]func(string) string{
			"empty": func(string) string { return "" }, "short": func(string) string { return "x" }, "longer": func(s string) string { return s + "x" },
			"shorter": func(s string) string { return s[:len(s)-1] }, "long": func(string) string { return strings.Repeat("a", 8000) },
		} {
			h := good.Clone()
			for _, credential := range d.Credentials {
				h.Set(credential, mangle(good.Get(credential)))
			}
			d.refused(t, what+" with "+name+" credentials", s.Send(c, op.Method, d.Prefix+fill(op.Path, d.Absent), h, d.Bodies[op.OperationID]), http.StatusUnauthorized)
		}
	}
	if n := s.Changes("ours"); n != before {
		t.Errorf("%d changes were made by nobody", n-before)
	}
}

// What is not there is an error of the vendor's too.
func nothingThere(t *testing.T, d Door) {
	s := d.Start(t)
	h, c := d.Login(t, s, "administrator.ours"), &http.Client{}
	for _, path := range []string{"", "/", "/nothing", "/" + strings.Repeat("x", 4000), "/%00", "/%2e%2e/%2e%2e/v1"} {
		d.refused(t, "GET "+path, s.Send(c, http.MethodGet, d.Prefix+"/x"+path, h, ""), http.StatusNotFound, http.StatusBadRequest)
	}
	for _, op := range d.Spec.Operations() {
		path := d.Prefix + op.Path
		first, rest, _ := strings.Cut(path[1:], "/")
		for _, odd := range []string{fmt.Sprintf("/%%%X%s", path[1], path[2:]), "//" + path[1:], "/./" + path[1:], "/x/.." + path, "/" + first + "//" + rest, "/" + first + "/./" + rest, path + "/", path + "/x"} {
			odd = fill(odd, d.Absent)
			if _, documented := d.Spec.find(op.Method, odd); !documented {
				d.refused(t, op.Method+" "+odd, s.Send(c, op.Method, odd, h, ""), http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed)
			}
		}
	}
	for _, op := range d.Spec.Operations() {
		for _, method := range []string{"PROPFIND", "OPTIONS", "TRACE", "POST", "PUT", "PATCH", "DELETE"} {
			if _, documented := d.Spec.find(method, d.Prefix+op.Path); documented {
				continue
			}
			r := s.Send(c, method, d.Prefix+fill(op.Path, d.Absent), h, "")
			d.refused(t, method+" "+op.Path, r, http.StatusMethodNotAllowed, http.StatusNotFound)
		}
	}
}

// No body that is wrong is taken, and none changes anything.
func badBodies(t *testing.T, d Door) {
	s := d.Start(t)
	h := d.Login(t, s, "administrator.ours")
	objects := d.Objects(t, s, h)
	before, c := s.Changes("ours"), d.Spec.Client(t)
	for _, op := range d.Spec.Operations() {
		if !op.TakesJSON() {
			continue
		}
		path, ok := objects[op.Path]
		if !ok {
			path = fill(op.Path, d.Absent)
		}
		for name, body := range map[string]string{
			"half": `{"name":`, "single quotes": `{'name': 'x'}`, "list": `[]`, "text": `"x"`, "number": `1`, "null": `null`, "two": `{} {}`, "no UTF-8": "{\"name\":\"\xff\xfe\"}",
			"deep": strings.Repeat("[", 100_000), "deep object": strings.Repeat(`{"a":`, 50_000), "comment": `/* */ {}`, "NaN": `{"a":NaN}`, "form": "a=b&c=d", "field twice": `{"no such field":1,"no such field":1}`,
		} {
			d.refused(t, op.OperationID+" with "+name, s.Send(c, op.Method, d.Prefix+path, h, body))
		}
		for name, body := range d.wrongFields(t, op) {
			d.refused(t, op.OperationID+" with "+name, s.Send(c, op.Method, d.Prefix+path, h, body))
		}
		for name, kind := range map[string]string{"text": "text/plain", "xml": "application/xml", "other charset": "application/json; charset=utf-16", "garbage": ";;;"} {
			x := h.Clone()
			x.Set("Content-Type", kind)
			d.refused(t, op.OperationID+" as "+name, s.Send(c, op.Method, d.Prefix+path, x, valid(d, op)))
		}
		x := h.Clone()
		x.Set("Content-Encoding", "gzip")
		d.refused(t, op.OperationID+" encoded", s.Send(c, op.Method, d.Prefix+path, x, valid(d, op)))
		d.refused(t, op.OperationID+" too large", s.Send(c, op.Method, d.Prefix+path, h, `{"name":"`+strings.Repeat("x", 17<<20)+`"}`), http.StatusRequestEntityTooLarge)
	}
	if n := s.Changes("ours"); n != before {
		t.Errorf("%d changes were made by bodies that are wrong", n-before)
	}
}

// wrongFields are bodies with one field that the document forbids: of another type,
// beyond what any number is, given twice, or missing where it is required.
func (d Door) wrongFields(t *testing.T, op Operation) map[string]string {
	t.Helper()
	schema := op.RequestBody.Value.Content["application/json"].Schema.Value
	var right map[string]json.RawMessage
	if err := json.Unmarshal([]byte(valid(d, op)), &right); err != nil {
		t.Fatalf("the body of %s: %v", op.OperationID, err)
	}
	wrong := map[string]string{}
	for field := range schema.Properties {
		others := maps.Clone(right)
		delete(others, field)
		without := encode(t, others)
		if visit(schema, []byte(without)) != nil {
			wrong["no "+field] = without
		}
		head := strings.TrimSuffix(without, "}")
		if head != "{" {
			head += ","
		}
		for _, value := range []string{`{"x":[]}`, `[[{}]]`, `"\u0000"`, "1e999", "-1", "true"} {
			body := fmt.Sprintf("%s%q:%s}", head, field, value)
			if visit(schema, []byte(body)) != nil {
				wrong[field+" "+value] = body
			}
		}
		if value, ok := right[field]; ok {
			wrong[field+" twice"] = fmt.Sprintf("%s%q:%s,%q:%s}", head, field, value, field, value)
		}
	}
	return wrong
}

func encode(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func valid(d Door, op Operation) string {
	if body := d.Bodies[op.OperationID]; body != "" {
		return body
	}
	return "{}"
}

// Another organization's objects are answered as absent ones are, whatever is tried.
func foreign(t *testing.T, d Door) {
	s := d.Start(t)
	ours, theirs := d.Login(t, s, "administrator.ours"), d.Login(t, s, "administrator.theirs")
	objects := d.Objects(t, s, ours)
	before, c := s.Changes("ours"), d.Spec.Client(t)
	tried := 0
	for _, op := range d.Spec.Operations() {
		path, ok := objects[op.Path]
		if !ok {
			if strings.Contains(op.Path, "{") && !slices.Contains(d.Shared, op.Path) {
				t.Errorf("no object for %s", op.Path)
			}
			continue
		}
		tried++
		what, id := op.Method+" "+op.Path, objectID(op.Path, path)
		foreign := s.Send(c, op.Method, d.Prefix+path, theirs, d.Bodies[op.OperationID])
		absent := s.Send(c, op.Method, d.Prefix+strings.Replace(path, id, d.Absent, 1), theirs, d.Bodies[op.OperationID])
		d.refused(t, what+" of another organization", foreign, d.notFound(op))
		d.refused(t, what+" of nobody", absent, d.notFound(op))
		if a, b := withoutDigits(foreign.Body, id), withoutDigits(absent.Body, d.Absent); a != b {
			t.Errorf("%s: a foreign object is told from an absent one:\n%s\n%s", what, a, b)
		}
	}
	if tried == 0 {
		t.Error("nothing was tried")
	}
	if n := s.Changes("ours"); n != before {
		t.Errorf("%d changes were made from another organization", n-before)
	}
	for path, object := range objects { // they were there to be reached
		if op, ok := d.Spec.find(http.MethodGet, d.Prefix+path); ok {
			if r := s.Send(c, http.MethodGet, d.Prefix+object, ours, ""); r.Status != http.StatusOK {
				t.Errorf("%s answers its owner %d\n%s", op.Path, r.Status, r.Body)
			}
		}
	}
}

// notFound is the status of what is not there.
func (d Door) notFound(op Operation) int {
	if status, ok := d.NotFound[op.OperationID]; ok {
		return status
	}
	return http.StatusNotFound
}

// objectID is what a path has in the place of the parameter.
func objectID(pattern, path string) string {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	for i := range want {
		if strings.HasPrefix(want[i], "{") {
			return have[i]
		}
	}
	return ""
}

// withoutDigits leaves out of an error what may differ: the id, and the ticket.
func withoutDigits(body []byte, id string) string {
	body = bytes.ReplaceAll(body, []byte(id), nil)
	return strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'f' {
			return -1
		}
		return c
	}, string(body))
}

// Whoever may only read changes nothing.
func roles(t *testing.T, d Door) {
	s := d.Start(t)
	objects := d.Objects(t, s, d.Login(t, s, "administrator.ours"))
	monitor, c := d.Login(t, s, "monitor.ours"), d.Spec.Client(t)
	before, tried := s.Changes("ours"), 0
	for _, op := range d.Spec.Operations() {
		action := fmt.Sprint(op.Extensions["x-remuda-action"])
		path, ok := objects[op.Path]
		if !ok {
			path = op.Path
		}
		switch {
		case strings.HasSuffix(action, ".write"), strings.HasSuffix(action, ".run"):
			tried++
			d.refused(t, op.OperationID+" by a monitor", s.Send(c, op.Method, d.Prefix+path, monitor, d.Bodies[op.OperationID]), refusals(d, op)...)
		case strings.HasSuffix(action, ".read") && slices.ContainsFunc(authz.Table(), func(r authz.Rule) bool {
			return string(r.Action) == action && r.Role == remuda.RoleMonitor
		}):
			if r := s.Send(c, op.Method, d.Prefix+path, monitor, ""); r.Status == http.StatusForbidden {
				t.Errorf("%s is forbidden to a monitor\n%s", op.OperationID, r.Body)
			}
		}
	}
	if tried == 0 {
		t.Error("nothing was tried")
	}
	if n := s.Changes("ours"); n != before {
		t.Errorf("%d changes were made by a monitor", n-before)
	}
}

// refusals are the statuses for whoever may not do something.
func refusals(d Door, op Operation) []int {
	if d.Private {
		return []int{http.StatusForbidden, d.notFound(op)}
	}
	return []int{http.StatusForbidden}
}

// A browser's request from another site is refused.
func otherSites(t *testing.T, d Door) {
	s := d.Start(t)
	h := d.Login(t, s, "administrator.ours")
	before := s.Changes("ours")
	h.Set("Origin", "https://evil.example")
	h.Set("Sec-Fetch-Site", "cross-site")
	for _, op := range d.Spec.Operations() {
		if op.Method == http.MethodGet {
			continue
		}
		d.refused(t, op.OperationID, s.Send(&http.Client{}, op.Method, d.Prefix+fill(op.Path, d.Absent), h, valid(d, op)), http.StatusForbidden)
	}
	if n := s.Changes("ours"); n != before {
		t.Errorf("%d changes were made from another site", n-before)
	}
}
