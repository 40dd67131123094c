package attempts

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/remuda-run/remuda/test/harness"
)

// apiRows are rows T03 to T14.
func apiRows() []row {
	return slices.Concat(roleRows(), requestRefusals(), []row{
		{id: "T07", attempt: "CR, LF and escapes in X-Request-Id", expected: "not taken over", places: atServerOnly(), try: requestIDs},
		{id: "T07", attempt: "a newline and escapes in output and file names reach the log", expected: "escaped", places: atServerOnly(), try: logInjection},
		{id: "T08", attempt: "read a stream of events very slowly", expected: "the execution is not held up, nothing is lost", places: each(cold), try: slowReader},
		{id: "T09", attempt: "cut a stream of events again and again", expected: "resumed by number, no byte lost", places: each(cold), try: cutReader},
		{id: "T09", attempt: "send a thousand requests and hang up at once", expected: "the server goes on", places: atServerOnly(), try: hangUps},
		{id: "T10", attempt: "send one request twice with the same idempotency key", expected: "one execution", places: atServerOnly(), try: sameKey},
		{id: "T11", attempt: "edit, delete and move rows of the audit log", expected: "found by its chain of hashes", places: atServerOnly(), try: func(c *cell) {
			c.cannot("tried by internal/store/storetest (audit.go) and test/script (audit.txtar), where the rows can be edited")
		}},
		{id: "T12", attempt: "look for passwords and tokens in the server's log", expected: "absent", places: atServerOnly(), try: secretsInLog},
		{id: "T12", attempt: "look for passwords and tokens in the database", expected: "hashes only", places: atServerOnly(), try: secretsInStore},
		{id: "T13", attempt: "a changing request from another site's page", expected: "403", places: atServerOnly(), try: crossOrigin},
		{id: "T13", attempt: "script in output, errors and file names, opened in a browser", expected: "text only, nosniff, a policy that forbids everything", places: atServerOnly(), try: activeContent},
		{id: "T14", attempt: "serve without TLS on every address", expected: "refuses to start", places: atServerOnly(), try: func(c *cell) { refusesListen(c, "--listen", "0.0.0.0:0") }},
		{id: "T14", attempt: "serve /metrics without a token on every address", expected: "refuses to start", places: atServerOnly(), try: func(c *cell) { refusesListen(c, "--listen", "0.0.0.0:0", "--metrics-open") }},
		{id: "T14", attempt: "read /metrics as a tenant", expected: "403", places: atServerOnly(), try: func(c *cell) {
			c.house.admin.must(c.T, http.MethodGet, "/metrics", nil, nil)
			got := c.house.a.ask(c.T, http.MethodGet, "/metrics", nil)
			c.holds(got.Status == http.StatusForbidden, "%s", got)
		}},
		{id: "T14", attempt: "look for profiling and debug pages", expected: "404 or 401", places: atServerOnly(), try: func(c *cell) {
			for _, path := range []string{"/debug/pprof/", "/debug/vars", "/debug/requests", "/.git/config", "/v1/../debug/pprof"} {
				if got := c.house.a.ask(c.T, http.MethodGet, path, nil); got.Status < 300 || got.Status >= 500 {
					c.escape("%s answered %d", path, got.Status)
				}
			}
			c.holds(true, "404")
		}},
		{id: "T04", attempt: "have the server fetch an address of the site (image, URL)", expected: "refused", places: atServerOnly(), try: func(c *cell) {
			got := c.house.a.ask(c.T, http.MethodPost, "/v1/runtimes", harness.JSON{"name": "ssrf", "language": "python", "environment": "http://169.254.169.254/image"})
			c.holds(got.Status == http.StatusBadRequest, "%s: the server fetches nothing", got)
		}},
	})
}

// roleRows are row T03.
func roleRows() []row {
	as := func(attempt, expected string, who func(*cell) *tenant, method, path string, body any, statuses ...int) row {
		return row{id: "T03", attempt: attempt, expected: expected, places: atServerOnly(), try: func(c *cell) {
			got := who(c).ask(c.T, method, path, body)
			c.holds(slices.Contains(statuses, got.Status), "%s", got)
		}}
	}
	run := harness.JSON{"runtime": "python", "script": "1"}
	runtime := func(name string) harness.JSON { return harness.JSON{"name": name, "language": "python"} }
	member := func(role string) func(*cell) *tenant {
		return func(c *cell) *tenant {
			return c.house.user(c.T, "acme", fmt.Sprintf("%s-%d", role, c.house.next()), role)
		}
	}
	token := func(edit func(*cell, *tenant) *tenant) func(*cell) *tenant {
		return func(c *cell) *tenant { return edit(c, member("operator")(c)) }
	}
	const f, u = http.StatusForbidden, http.StatusUnauthorized
	return []row{
		as("a monitor runs a script", "403", member("monitor"), http.MethodPost, "/v1/executions", run, f),
		as("a monitor opens a runspace", "403", member("monitor"), http.MethodPost, "/v1/runspaces", harness.JSON{"runtime": "python"}, f),
		as("an operator makes a runtime", "403", member("operator"), http.MethodPost, "/v1/runtimes", runtime("x1"), f),
		as("a deployer changes roles", "403", member("deployer"), http.MethodPut, "/v1/organizations/acme/members/acme-boss", harness.JSON{"role": "monitor"}, f),
		as("an administrator of an organization makes an organization", "403", func(c *cell) *tenant { return c.house.a }, http.MethodPost, "/v1/organizations", harness.JSON{"name": "x"}, f),
		as("an administrator of an organization makes a user", "403", func(c *cell) *tenant { return c.house.a }, http.MethodPost, "/v1/users", harness.JSON{"name": "x", "password": "correct horse x"}, f),
		as("an administrator of an organization makes a site administrator", "403", func(c *cell) *tenant { return c.house.a }, http.MethodPost, "/v1/users", harness.JSON{"name": "y", "password": "correct horse y", "site_admin": true}, f),
		as("an administrator of an organization changes a built-in runtime", "403 or 404", func(c *cell) *tenant { return c.house.a }, http.MethodPatch, "/v1/runtimes/python", harness.JSON{"description": "x"}, f, http.StatusNotFound),
		as("no token", "401", func(c *cell) *tenant { return c.house.a.with("") }, http.MethodGet, "/v1/runtimes", nil, u),
		as("a made-up token", "401", func(c *cell) *tenant { return c.house.a.with("rmd_" + strings.Repeat("x", 43)) }, http.MethodGet, "/v1/runtimes", nil, u),
		as("a token cut short", "401", func(c *cell) *tenant { return c.house.a.with(c.house.a.token[:len(c.house.a.token)-1]) }, http.MethodGet, "/v1/runtimes", nil, u),
		as("a read token runs a script", "403", token(func(c *cell, who *tenant) *tenant {
			return who.with(who.newToken(c.T, harness.JSON{"name": "r", "scope": "read"}))
		}), http.MethodPost, "/v1/executions", run, f),
		as("a read token makes a write token", "403", token(func(c *cell, who *tenant) *tenant {
			return who.with(who.newToken(c.T, harness.JSON{"name": "r", "scope": "read"}))
		}), http.MethodPost, "/v1/tokens", harness.JSON{"name": "w", "scope": "write"}, f),
		as("an expired token", "401", token(func(c *cell, who *tenant) *tenant {
			soon := time.Now().Add(time.Second)
			expired := who.with(who.newToken(c.T, harness.JSON{"name": "e", "expires_at": soon.UTC().Format(time.RFC3339Nano)}))
			eventually(c, "the token has expired", func() bool { return time.Now().After(soon.Add(10 * time.Millisecond)) })
			return expired
		}), http.MethodGet, "/v1/runtimes", nil, u),
		as("a revoked token", "401", token(func(c *cell, who *tenant) *tenant {
			var id struct{ Token string }
			who.must(c.T, http.MethodGet, "/v1/whoami", nil, &id)
			who.must(c.T, http.MethodDelete, "/v1/tokens/"+id.Token, nil, nil)
			return who
		}), http.MethodGet, "/v1/runtimes", nil, u),
		as("a token of a disabled user", "401", token(func(c *cell, who *tenant) *tenant {
			who.must(c.T, http.MethodGet, "/v1/runtimes", nil, nil)
			c.house.admin.must(c.T, http.MethodPatch, "/v1/users/"+who.user, harness.JSON{"disabled": true}, nil)
			return who
		}), http.MethodGet, "/v1/runtimes", nil, u),
		as("a token of a user whose role was taken away", "401, 403 or 404", token(func(c *cell, who *tenant) *tenant {
			who.must(c.T, http.MethodGet, "/v1/runtimes", nil, nil)
			c.house.a.must(c.T, http.MethodDelete, "/v1/organizations/acme/members/"+who.user, nil, nil)
			return who
		}), http.MethodPost, "/v1/executions", run, u, f, http.StatusNotFound),
		{id: "T03", attempt: "change the own password with a token only", expected: "401 or 403", places: atServerOnly(), try: func(c *cell) {
			who := member("operator")(c)
			got := who.ask(c.T, http.MethodPatch, "/v1/users/"+who.user, harness.JSON{"password": "another horse"})
			c.holds(got.Status == u || got.Status == f, "%s", got)
		}},
		{id: "T03", attempt: "guess a password many times", expected: "refused, and slowed down", places: atServerOnly(), try: func(c *cell) {
			who := member("operator")(c)
			seen := map[string]bool{}
			for range 30 {
				got := who.with("").ask(c.T, http.MethodPost, "/v1/tokens", harness.JSON{"name": "x"}, func(r *http.Request) { r.SetBasicAuth(who.user, "wrong") })
				seen[fmt.Sprint(got.Status)] = true
				if got.Status < 400 {
					c.escape("it was let in")
				}
			}
			c.holds(seen["429"], "%s", keys(seen))
		}},
	}
}

// requestRefusals are rows T05, T06 and T07 of one request each.
func requestRefusals() []row {
	bad := func(id, attempt, path string, body any) row {
		return row{id: id, attempt: attempt, expected: "400", places: atServerOnly(), try: func(c *cell) {
			got := c.house.a.ask(c.T, http.MethodPost, path, body)
			c.holds(got.Status == http.StatusBadRequest, "%s", got)
		}}
	}
	env := func(name string) harness.JSON {
		return harness.JSON{"runtime": "python", "script": "1", "env": map[string]string{name: "x"}}
	}
	limits := func(r harness.JSON) harness.JSON {
		return harness.JSON{"name": "big", "language": "python", "resources": r}
	}
	var list []row
	for _, name := range []string{"REMUDA_TOKEN", "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONSTARTUP", "NODE_OPTIONS", "BASH_ENV", "BASH_FUNC_x", "GLIBC_TUNABLES", "GCONV_PATH", "A=B", "A B", ""} {
		list = append(list, bad("T05", fmt.Sprintf("an execution with the variable %q", name), "/v1/executions", env(name)))
	}
	return append(list,
		bad("T05", "a runtime with the variable LD_PRELOAD", "/v1/runtimes", harness.JSON{"name": "env", "language": "python", "env": map[string]string{"LD_PRELOAD": "x"}}),
		bad("T05", "a field that does not exist (privileged)", "/v1/runtimes", harness.JSON{"name": "x", "language": "python", "privileged": true}),
		bad("T06", "more memory than the machine has", "/v1/runtimes", limits(harness.JSON{"memory_mb": 1 << 23})),
		bad("T06", "more processors than the machine has", "/v1/runtimes", limits(harness.JSON{"cpu": 1000})),
		bad("T06", "a million processes", "/v1/runtimes", limits(harness.JSON{"pids": 1000000})),
		bad("T06", "a disk of a petabyte", "/v1/runtimes", limits(harness.JSON{"disk_mb": 1 << 23})),
		bad("T06", "no limit of memory (0, -1)", "/v1/runtimes", limits(harness.JSON{"memory_mb": -1})),
		bad("T06", "a pool of 10,000", "/v1/runtimes", harness.JSON{"name": "x", "language": "python", "pool": harness.JSON{"min_cached": 10000, "max_cached": 10000}}),
		bad("T06", "a week of execution time", "/v1/runtimes", harness.JSON{"name": "x", "language": "python", "exec_timeout_s": 604800}),
		bad("T06", "more time than the runtime gives", "/v1/executions", harness.JSON{"runtime": "python", "script": "1", "timeout_s": 100000}),
		bad("T06", "more memory for one execution than the runtime has", "/v1/executions", harness.JSON{"runtime": "python", "script": "1", "limits": harness.JSON{"memory_mb": 100000}}),
		bad("T07", "a runtime named with CR, LF and an escape", "/v1/runtimes", harness.JSON{"name": "a\r\nSet-Cookie: x\x1b[2J", "language": "python"}),
		bad("T07", "a runspace named with a slash and dots", "/v1/runspaces", harness.JSON{"runtime": "python", "name": "../../x"}),
		row{id: "T07", attempt: "a runtime named like SQL", expected: "a name like any other", places: atServerOnly(), try: sqlName},
	)
}

func sqlName(c *cell) {
	const name = "x'; DROP TABLE runtimes; --"
	got := c.house.a.ask(c.T, http.MethodPost, "/v1/runtimes", harness.JSON{"name": name, "language": "python"})
	if got.Status != http.StatusCreated {
		c.Fatalf("not created: %s", got)
	}
	found := c.house.a.ask(c.T, http.MethodGet, "/v1/runtimes/"+url.PathEscape(name), nil)
	gone := c.house.a.ask(c.T, http.MethodDelete, "/v1/runtimes/"+url.PathEscape(name), nil)
	others := c.house.a.ask(c.T, http.MethodGet, "/v1/runtimes", nil)
	c.holds(found.Status == http.StatusOK && gone.Status < 300 && others.Status == http.StatusOK && strings.Contains(string(others.Body), `"python"`),
		"found %d, deleted %d, the others are there", found.Status, gone.Status)
}

func requestIDs(c *cell) {
	base, err := url.Parse(c.house.server.Base)
	if err != nil {
		c.Fatal(err)
	}
	conn, err := net.Dial("tcp", base.Host)
	if err != nil {
		c.Fatal(err)
	}
	defer conn.Close()
	const evil = "ok\x1b[2J\" level=ERROR msg=made-up"
	path := fmt.Sprintf("/evil-%d", c.house.next())
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\nX-Request-Id: "+evil+"\r\nConnection: close\r\n\r\n"); err != nil {
		c.Fatal(err)
	}
	raw, err := io.ReadAll(conn)
	if err != nil {
		c.Fatal(err)
	}
	got, after := string(raw), fmt.Sprintf("after-%d", c.house.next())
	c.house.a.marked(after).ask(c.T, http.MethodGet, "/v1/runtimes", nil)
	log := c.log("request_id=" + after)
	if !strings.HasPrefix(got, "HTTP/1.1 400 ") { // what is no request at all has no line
		log = c.log("path=" + path)
	}
	c.holds(strings.HasPrefix(got, "HTTP/1.1 ") && !strings.Contains(got, "made-up") && !strings.Contains(log, "msg=made-up"), "%s", short(strings.SplitN(got, "\r\n", 2)[0]))
}

func logInjection(c *cell) {
	word := fmt.Sprintf("forged%d", c.house.next())
	finish(c.T, c.house.a, "/v1/executions", harness.JSON{"runtime": "python", "script": "import sys\nsys.stderr.write('\\ntime=2026 level=ERROR msg=" + word + "\\n')\nraise SystemExit('\\nlevel=ERROR msg=" + word + "')"})
	for _, path := range []string{"/v1/runtimes/x%0alevel=ERROR%20msg=" + word, "/" + word + "%0d%0alevel=ERROR"} {
		c.house.a.ask(c.T, http.MethodGet, path, nil)
	}
	var log string
	eventually(c, "both requests are in the log", func() bool {
		log = c.house.server.Log()
		return len(regexp.MustCompile("msg=request .*"+word).FindAllString(log, -1)) >= 2
	})
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "level=ERROR") || strings.HasPrefix(line, "time=2026 level=ERROR msg="+word) {
			c.escape("the log has the line %q", line)
		}
	}
	c.holds(true, "no line of its own")
}

func secretsInLog(c *cell) {
	who := c.house.user(c.T, "acme", fmt.Sprintf("teller-%d", c.house.next()), "operator")
	guessed, asked := fmt.Sprintf("guessed-%d", c.house.next()), fmt.Sprintf("asked-%d", c.house.next())
	who.with("").marked(guessed).ask(c.T, http.MethodPost, "/v1/tokens", harness.JSON{"name": "x"}, func(r *http.Request) { r.SetBasicAuth(who.user, who.password+"wrong") })
	who.marked(asked).ask(c.T, http.MethodGet, "/v1/runtimes?token="+who.token, nil)
	log := c.log("request_id="+guessed, "request_id="+asked)
	for _, secret := range []string{who.password, who.token, c.house.a.token, c.house.admin.token} {
		if strings.Contains(log, secret) {
			c.escape("the log has a secret")
		}
	}
	c.holds(len(log) > 0, "absent")
}

func secretsInStore(c *cell) {
	files := 0
	for _, secret := range []string{c.house.a.token, c.house.a.password, c.house.admin.token} {
		found, looked := filesWith(c, c.house.server.Data, secret)
		files = looked
		if len(found) > 0 {
			c.escape("%v have it", found)
		}
	}
	c.holds(files > 0, "absent")
}

func crossOrigin(c *cell) {
	body := harness.JSON{"runtime": "python", "script": "1"}
	same := c.house.a.ask(c.T, http.MethodPost, "/v1/executions?wait=30s", body)
	got := c.house.a.ask(c.T, http.MethodPost, "/v1/executions?wait=30s", body, func(r *http.Request) {
		r.Header.Set("Origin", "https://evil.example")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	})
	c.holds(same.Status == http.StatusOK && got.Status == http.StatusForbidden, "%s", got)
}

func activeContent(c *cell) {
	const active = "<script>alert(1)</script>"
	o := finish(c.T, c.house.a, "/v1/executions", harness.JSON{"runtime": "python", "script": "print('" + active + "')\nraise ValueError('" + active + "')"})
	space := openRunspace(c.T, c.house.a, "python")
	c.house.a.must(c.T, http.MethodPut, "/v1/runspaces/"+space+"/files/x.html", strings.NewReader(active), nil)
	for _, path := range []string{"/v1/executions/" + o.ID, "/v1/executions/" + o.ID + "/output", "/v1/runspaces/" + space + "/files/x.html", "/v1/runtimes/%3Cscript%3Ealert(1)%3C%2Fscript%3E", "/docs"} {
		got := c.house.a.ask(c.T, http.MethodGet, path, nil)
		kind, policy := got.Header.Get("Content-Type"), got.Header.Get("Content-Security-Policy")
		html := strings.HasPrefix(kind, "text/html") && path != "/docs"
		if html || got.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "script-src") && strings.Contains(policy, "unsafe") {
			c.escape("%s comes as %s with policy %q", path, kind, policy)
		}
		if strings.HasSuffix(path, ".html") && !strings.HasPrefix(got.Header.Get("Content-Disposition"), "attachment") {
			c.escape("a file of a workspace may be shown by a browser")
		}
	}
	c.holds(true, "JSON or attachment, default-src 'none', nosniff")
}

func refusesListen(c *cell, args ...string) {
	r := harness.Command(c.Context(), c.T, []string{"REMUDA_ADMIN_PASSWORD=correct horse"}, "", append([]string{"serve", "--data", c.TempDir() + "/data"}, args...)...)
	c.holds(r.Status > 0 && strings.Contains(r.Stderr, "refusing"), "exit status %d: %s", r.Status, short(lastLineWith(r.Stderr, "refusing")))
}
