package srs_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/compat/compattest"
)

// tool runs a program against the door and returns what it writes.
func (r *peer) tool(name string, args ...string) string {
	r.t.Helper()
	return compattest.Tool(r.t, []string{"SRS=" + r.server.Base, "SRS_USER=" + r.user, "SRS_PASSWORD=" + compattest.Password}, name, args...)
}

// shellClient has the habits of the vendor's shell client (compat/srs.md A3, A7 to A9):
// it looks for the header's very letters, takes JSON apart with grep and awk, and sends
// a text for a boolean.
const shellClient = `
login() { curl -s -i -X POST "$SRS/api/auth/login" -u "$SRS_USER:$SRS_PASSWORD" -H 'Content-Length: 0'; }
KEY=$(login | grep 'X-SRS-API-KEY' | awk '{print $2}' | tr -d '\r')
field() { grep -o "\"$1\":\"[^\"]*\"" | head -1 | awk -F'"' '{print $4}'; }
srs() { curl -s -H "X-SRS-API-KEY: $KEY" -H 'Content-Type: application/json' "$@"; }
RS=$(srs -X POST "$SRS/api/runspaces" -d '{"name":"shell","run_vc_connection_script":"true"}' | field id)
while [ "$(srs "$SRS/api/runspaces/$RS" | field state)" = creating ]; do sleep 0.05; done
EX=$(srs -X POST "$SRS/api/script-executions" -d "{\"runspace_id\":\"$RS\",\"script\":\"6 * 7\"}" | field id)
while [ "$(srs "$SRS/api/script-executions/$EX" | field state)" = running ]; do sleep 0.05; done
srs "$SRS/api/script-executions/$EX/output"
srs -X GET "$SRS/api/runspaces" -d '{}' | grep -c "\"$RS\""
srs -X DELETE "$SRS/api/runspaces/$RS" -w '%{http_code}\n'
curl -s -o /dev/null -w '%{http_code} %{num_connects}\n' --anyauth -u "$SRS_USER:$SRS_PASSWORD" -X POST "$SRS/api/auth/login"
`

// urllibClient answers only a challenge with its password.
const urllibClient = `
import json, os, time, urllib.request
base = os.environ['SRS']
passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
passwords.add_password(None, base, os.environ['SRS_USER'], os.environ['SRS_PASSWORD'])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPBasicAuthHandler(passwords))
answer = opener.open(urllib.request.Request(base + '/api/auth/login', method='POST'))
key = answer.headers['X-SRS-API-KEY']
def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, {'X-SRS-API-KEY': key, 'Content-Type': 'application/json'}, method=method)
    text = opener.open(request).read()
    return json.loads(text) if text else None
def until(path, passing):
    while True:
        got = call('GET', path)
        if got['state'] != passing:
            return got
        time.sleep(0.02)
runspace = call('POST', '/api/runspaces', {'name': 'python', 'run_vc_connection_script': False})
until('/api/runspaces/' + runspace['id'], 'creating')
script = call('POST', '/api/script-executions', {'runspace_id': runspace['id'], 'script': '[1, 2]', 'output_objects_format': 'json'})
print(until('/api/script-executions/' + script['id'], 'running')['state'])
print([json.loads(text)['Value'] for text in call('GET', '/api/script-executions/' + script['id'] + '/output')])
call('DELETE', '/api/runspaces/' + runspace['id'])
call('POST', '/api/auth/logout')
`

// TestRealClients lets real programs speak with the door.
func TestRealClients(t *testing.T) {
	t.Parallel()
	ada := startReal(t).member("ada", "operator", "default")
	t.Run("shell", func(t *testing.T) {
		t.Parallel()
		got := strings.Split(strings.TrimSpace(ada.in(t).tool("bash", "-eu", "-o", "pipefail", "-c", shellClient)), "\n")
		if want := []string{`["42"]`, "1", "200", "200 1"}; strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("a stray return", func(t *testing.T) {
		t.Parallel()
		r := ada.in(t)
		request := func(path, header string) string {
			return "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + header + "\r\r\n\r\n"
		}
		if got := rawAnswer(t, r, request("/api/runspaces", headerKey+": "+r.key())); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			t.Errorf("after a key it is answered with\n%s", got)
		}
		for path, header := range map[string]string{"/api/runspaces": "X-Other: x", "/v1/runspaces": "Authorization: Bearer " + r.server.Token} {
			if got := rawAnswer(t, r, request(path, header)); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
				t.Errorf("after %s it is answered with\n%s", header[:8], got)
			}
		}
	})
	t.Run("two keys", func(t *testing.T) {
		t.Parallel()
		r := ada.in(t)
		for _, keys := range [][]string{{r.key(), "other"}, {"other", r.key()}, {r.key(), r.key()}} {
			view := *r
			view.header = http.Header{http.CanonicalHeaderKey(headerKey): keys}
			view.refused(view.send(http.MethodGet, "/api/runspaces", ""), http.StatusUnauthorized, 401)
		}
	})
	t.Run("urllib", func(t *testing.T) {
		t.Parallel()
		if got, want := ada.in(t).tool("python3", "-c", urllibClient), "success\n[1, 2]\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
