package attempts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/test/harness"
)

// property is what organization A owns and B must not see.
type property struct {
	runtime, runtimeName, runspace, execution, running, token, user, organization string
}

// estate makes A's objects, once.
func (c *cell) estate() *property {
	c.Helper()
	p, err := shared(c.house, "estate", func() (*property, error) {
		h, a := c.house, c.house.a
		p := &property{runtimeName: "secret-runtime", organization: a.organization}
		var made struct{ ID string }
		a.must(c.T, http.MethodPost, "/v1/runtimes", harness.JSON{"name": p.runtimeName, "language": "bash", "env": map[string]string{"KEY": "of-acme"}}, &made)
		p.runtime = made.ID
		a.must(c.T, http.MethodPost, "/v1/runspaces?wait=60s", harness.JSON{"runtime": p.runtimeName, "name": "secret-space"}, &made)
		p.runspace = made.ID
		h.cleanup(func() { closeRunspace(a, p.runspace) })
		a.must(c.T, http.MethodPut, "/v1/runspaces/"+p.runspace+"/files/secret.txt", strings.NewReader("of acme"), nil)
		p.execution = finish(c.T, a, "/v1/executions", harness.JSON{"runtime": p.runtimeName, "script": "echo of-acme"}).ok().ID
		a.must(c.T, http.MethodPost, "/v1/executions", harness.JSON{"runtime": p.runtimeName, "script": "sleep 50", "timeout_s": 55}, &made)
		p.running = made.ID
		a.must(c.T, http.MethodPost, "/v1/tokens", harness.JSON{"name": "secret-token"}, &made)
		p.token = made.ID
		var who struct{ User string }
		a.must(c.T, http.MethodGet, "/v1/whoami", nil, &who)
		p.user = who.User
		return p, nil
	})
	if err != nil {
		c.Fatal(err)
	}
	return p
}

// foreign are the calls of one organization on another's objects. The path is
// made of the property; body is for calls that need one; read says that A itself
// may make the call as proof, without changing anything.
var foreign = []struct {
	attempt, method string
	path            func(*property) string
	body            func(*property) any
	read            bool
	empty           bool // an empty list is an answer too: it is the same for what was never there
	forbidden       bool // likewise: nobody but the site's administrator may ask
}{
	{"get a runtime by id", http.MethodGet, func(p *property) string { return "/v1/runtimes/" + p.runtime }, nil, true, false, false},
	{"get a runtime by name", http.MethodGet, func(p *property) string { return "/v1/runtimes/" + p.runtimeName }, nil, true, false, false},
	{"change a runtime", http.MethodPatch, func(p *property) string { return "/v1/runtimes/" + p.runtime }, func(*property) any { return harness.JSON{"description": "taken"} }, false, false, false},
	{"delete a runtime", http.MethodDelete, func(p *property) string { return "/v1/runtimes/" + p.runtime }, nil, false, false, false},
	{"run on a runtime by id", http.MethodPost, func(*property) string { return "/v1/executions" }, func(p *property) any { return harness.JSON{"runtime": p.runtime, "script": "echo $KEY"} }, true, false, false},
	{"run on a runtime by name", http.MethodPost, func(*property) string { return "/v1/executions" }, func(p *property) any { return harness.JSON{"runtime": p.runtimeName, "script": "echo $KEY"} }, true, false, false},
	{"open a runspace on a runtime", http.MethodPost, func(*property) string { return "/v1/runspaces" }, func(p *property) any { return harness.JSON{"runtime": p.runtime} }, false, false, false},
	{"list executions of a runtime", http.MethodGet, func(p *property) string { return "/v1/executions?runtime=" + p.runtime }, nil, true, true, false},
	{"list executions of a runspace", http.MethodGet, func(p *property) string { return "/v1/executions?runspace=" + p.runspace }, nil, true, true, false},
	{"get a runspace", http.MethodGet, func(p *property) string { return "/v1/runspaces/" + p.runspace }, nil, true, false, false},
	{"close a runspace", http.MethodDelete, func(p *property) string { return "/v1/runspaces/" + p.runspace }, nil, false, false, false},
	{"run in a runspace", http.MethodPost, func(p *property) string { return "/v1/runspaces/" + p.runspace + "/executions" }, func(*property) any { return harness.JSON{"script": "cat secret.txt"} }, true, false, false},
	{"list files", http.MethodGet, func(p *property) string { return "/v1/runspaces/" + p.runspace + "/files" }, nil, true, false, false},
	{"read a file", http.MethodGet, func(p *property) string { return "/v1/runspaces/" + p.runspace + "/files/secret.txt" }, nil, true, false, false},
	{"write a file", http.MethodPut, func(p *property) string { return "/v1/runspaces/" + p.runspace + "/files/taken.txt" }, func(*property) any { return strings.NewReader("taken") }, true, false, false},
	{"delete a file", http.MethodDelete, func(p *property) string { return "/v1/runspaces/" + p.runspace + "/files/secret.txt" }, nil, false, false, false},
	{"get an execution", http.MethodGet, func(p *property) string { return "/v1/executions/" + p.execution }, nil, true, false, false},
	{"wait for an execution", http.MethodGet, func(p *property) string { return "/v1/executions/" + p.execution + "?wait=1s" }, nil, true, false, false},
	{"read output", http.MethodGet, func(p *property) string { return "/v1/executions/" + p.execution + "/output" }, nil, true, false, false},
	{"cancel an execution that runs", http.MethodPost, func(p *property) string { return "/v1/executions/" + p.running + "/cancel" }, nil, false, false, false},
	{"revoke a token", http.MethodDelete, func(p *property) string { return "/v1/tokens/" + p.token }, nil, false, false, false},
	{"get the organization", http.MethodGet, func(p *property) string { return "/v1/organizations/" + p.organization }, nil, true, false, false},
	{"get the organization by name", http.MethodGet, func(*property) string { return "/v1/organizations/acme" }, nil, true, false, false},
	{"list members", http.MethodGet, func(p *property) string { return "/v1/organizations/" + p.organization + "/members" }, nil, true, false, false},
	{"make itself a member", http.MethodPut, func(p *property) string { return "/v1/organizations/" + p.organization + "/members/bond-boss" }, func(*property) any { return harness.JSON{"role": "administrator"} }, false, false, false},
	{"remove a member", http.MethodDelete, func(p *property) string { return "/v1/organizations/" + p.organization + "/members/acme-boss" }, nil, false, false, false},
	{"get a user", http.MethodGet, func(p *property) string { return "/v1/users/" + p.user }, nil, true, false, true},
}

// lists of B must not hold anything of A.
var lists = []string{"/v1/runtimes?limit=200", "/v1/runspaces?limit=200", "/v1/executions?limit=200", "/v1/tokens?limit=200", "/v1/organizations?limit=200"}

// tenancyRows are row T01 for every call, T02 and T15.
func tenancyRows() []row {
	var list []row
	for _, f := range foreign {
		list = append(list, row{id: "T01", attempt: "another organization: " + f.attempt, expected: "404, nothing changed", places: atServerOnly(), try: func(c *cell) {
			p := c.estate()
			var body any
			if f.body != nil {
				body = f.body(p)
			}
			before := c.witness(p)
			got := c.house.b.ask(c.T, f.method, f.path(p), body)
			c.holds((isNotThere(got) || f.empty && isEmptyList(got) || f.forbidden && got.Status == http.StatusForbidden) && !bytes.Contains(got.Body, []byte("of-acme")) && !bytes.Contains(got.Body, []byte("of acme")), "%s", got)
			if after := c.witness(p); after != before {
				c.escape("%s, and it changed something: %s, before %s", got, after, before)
			}
			if f.read { // the same call is right when A makes it
				if f.body != nil {
					body = f.body(p) // a reader is read only once
				}
				if own := c.house.a.ask(c.T, f.method, f.path(p), body); own.Status >= http.StatusBadRequest {
					c.Errorf("A itself gets %s", own)
				}
			}
		}})
	}
	for _, path := range lists {
		list = append(list, row{id: "T01", attempt: "another organization: find something in " + strings.TrimSuffix(path, "?limit=200"), expected: "nothing of others", places: atServerOnly(), try: func(c *cell) {
			p := c.estate()
			got := c.house.b.must(c.T, http.MethodGet, path, nil, nil)
			for _, word := range []string{p.runtime, p.runtimeName, p.runspace, p.execution, p.token, p.organization, "acme"} {
				if strings.Contains(string(got.Body), word) {
					c.escape("the list has %s", word)
				}
			}
			own := c.house.a.must(c.T, http.MethodGet, path, nil, nil)
			if isEmptyList(own) {
				c.Errorf("A itself finds nothing of its own there: %.300s", own.Body)
			}
			c.holds(true, "nothing of others")
		}})
	}
	return append(list, []row{
		{id: "T01", attempt: "another organization: stream output as events", expected: "404", places: atServerOnly(), try: func(c *cell) {
			p := c.estate()
			events := func(r *http.Request) { r.Header.Set("Accept", "text/event-stream") }
			got := c.house.b.ask(c.T, http.MethodGet, "/v1/executions/"+p.execution+"/output", nil, events)
			own := c.house.a.ask(c.T, http.MethodGet, "/v1/executions/"+p.execution+"/output", nil, events)
			if !strings.Contains(string(own.Body), "of-acme") {
				c.Errorf("A itself reads %.200s", own.Body)
			}
			c.holds(got.Status == http.StatusNotFound, "%s", got)
		}},
		{id: "T01", attempt: "log in for another organization (Remuda-Organization)", expected: "refused", places: atServerOnly(), try: func(c *cell) {
			b := c.house.b
			got := b.with("").ask(c.T, http.MethodPost, "/v1/tokens", harness.JSON{"name": "x"}, func(r *http.Request) {
				r.SetBasicAuth(b.user, b.password)
				r.Header.Set("Remuda-Organization", "acme")
			})
			c.holds(got.Status >= 400 && got.Status < 500, "%s", got)
		}},
		{id: "T01", attempt: "a member of no organization asks for everything", expected: "refused", places: atServerOnly(), try: outsider},
		{id: "T02", attempt: "guess ids", expected: "at least 128 bits, none like another", places: atServerOnly(), try: guessIDs},
		{id: "T02", attempt: "tell a foreign object from none by the answer", expected: "the same answer", places: atServerOnly(), try: noOracle},
		{id: "T15", attempt: "noisy neighbour: fork bomb, memory bomb, full disk, spinning, output flood together", expected: "no error for the other organization, warm p99 at most 2x", places: only(place{process, warm}, place{gvisor, warm}), alone: true, try: noisyNeighbor},
	}...)
}

func isEmptyList(a *answer) bool {
	var list struct{ Items []json.RawMessage }
	return a.Status == http.StatusOK && json.Unmarshal(a.Body, &list) == nil && len(list.Items) == 0
}

func isNotThere(a *answer) bool {
	return a.Status == http.StatusNotFound || a.Status == http.StatusUnprocessableEntity && a.Code() == "not_found"
}

// witness is the state of A's objects that B may try to change.
func (c *cell) witness(p *property) string {
	c.Helper()
	var s strings.Builder
	var rt struct{ Description string }
	c.house.a.must(c.T, http.MethodGet, "/v1/runtimes/"+p.runtime, nil, &rt)
	type member struct {
		Name string `json:"user_name"`
		Role string
	}
	var rs, members struct {
		State string
		Items []member
	}
	c.house.a.must(c.T, http.MethodGet, "/v1/runspaces/"+p.runspace, nil, &rs)
	c.house.a.must(c.T, http.MethodGet, "/v1/organizations/"+p.organization+"/members", nil, &members)
	files := c.house.a.ask(c.T, http.MethodGet, "/v1/runspaces/"+p.runspace+"/files/secret.txt", nil)
	tokens := c.house.a.must(c.T, http.MethodGet, "/v1/tokens?limit=200", nil, nil)
	// Other rows make members of their own meanwhile: these are what B lays hands on.
	bosses := slices.DeleteFunc(members.Items, func(m member) bool { return m.Name != c.house.a.name+"-boss" && m.Name != c.house.b.name+"-boss" })
	fmt.Fprintf(&s, "%q %v %q %v", rt.Description, bosses, files.Body, strings.Contains(string(tokens.Body), p.token))
	if rs.State == "closed" || rs.State == "error" {
		s.WriteString(" closed")
	}
	return s.String()
}

func outsider(c *cell) {
	c.house.admin.must(c.T, http.MethodPost, "/v1/users", harness.JSON{"name": "outsider", "password": "correct horse outsider"}, nil)
	u := *c.house.b
	u.user, u.password = "outsider", "correct horse outsider"
	got := u.with("").ask(c.T, http.MethodPost, "/v1/tokens", harness.JSON{"name": "x"}, func(r *http.Request) { r.SetBasicAuth(u.user, u.password) })
	c.holds(got.Status >= 400 && got.Status < 500, "%s", got)
}

var idBody = regexp.MustCompile(`^[a-z]+_([0-9a-z]+)$`)

func guessIDs(c *cell) {
	p := c.estate()
	for _, id := range []string{p.runtime, p.runspace, p.execution, p.token, p.organization, p.user} {
		m := idBody.FindStringSubmatch(id)
		if m == nil || len(m[1])*5 < 128 { // base 32
			c.escape("%s has fewer than 128 bits", id)
		}
	}
	// Ids made one after another share the time and the first bits of the rest.
	common := 0
	last := ""
	for range 50 {
		id := string(remuda.NewExecutionID())
		n := 0
		for n < min(len(id), len(last)) && id[n] == last[n] {
			n++
		}
		common = max(common, n)
		last = id
	}
	random := (len(last) - common) * 5
	c.holds(random >= 64, "neighbours differ in at least %d random bits", random)
}

// noOracle compares the answers about a foreign id and one that was never made.
func noOracle(c *cell) {
	p := c.estate()
	strip := regexp.MustCompile(`"request_id":"[^"]*"`)
	for _, pair := range [][2]string{
		{"/v1/runtimes/" + p.runtime, "/v1/runtimes/" + string(remuda.NewRuntimeID())},
		{"/v1/runspaces/" + p.runspace, "/v1/runspaces/" + string(remuda.NewRunspaceID())},
		{"/v1/executions/" + p.execution, "/v1/executions/" + string(remuda.NewExecutionID())},
		{"/v1/executions/" + p.execution + "/output", "/v1/executions/" + string(remuda.NewExecutionID()) + "/output"},
		{"/v1/organizations/acme", "/v1/organizations/nobody"},
		{"/v1/executions?runtime=" + p.runtime, "/v1/executions?runtime=" + string(remuda.NewRuntimeID())},
		{"/v1/executions?runspace=" + p.runspace, "/v1/executions?runspace=" + string(remuda.NewRunspaceID())},
		{"/v1/users/" + p.user, "/v1/users/" + string(remuda.NewUserID())},
		{"/v1/users/acme-boss", "/v1/users/never-heard-of"},
		{"/v1/runtimes/" + p.runtimeName, "/v1/runtimes/unheard-of-it"},
	} {
		var texts [2]string
		for i, path := range pair {
			got := c.house.b.ask(c.T, http.MethodGet, path, nil)
			text := strip.ReplaceAllString(string(got.Body), "")
			last := path[strings.LastIndexAny(path, "/=")+1:]
			if last == "output" {
				last = strings.Split(path, "/")[3]
			}
			texts[i] = fmt.Sprint(got.Status) + strings.ReplaceAll(text, last, "ID")
		}
		if texts[0] != texts[1] {
			c.escape("%s: %s; %s: %s", pair[0], texts[0], pair[1], texts[1])
		}
	}
	c.holds(true, "the same answers")
}

// since is for figures.
func since(begin time.Time) float64 { return float64(time.Since(begin).Microseconds()) / 1000 }
