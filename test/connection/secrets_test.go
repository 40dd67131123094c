package connection

import (
	"bytes"
	"crypto/rand"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/test/harness"
)

// connect uses its secrets as a client of another system would: it makes something of
// them that stays, and lets go of them. It shows its token backwards, so that the test
// can look for it forwards.
const connect = `
import hashlib

def log_in(user, password, key):
    digest = hashlib.sha256((user + password + key).encode())
    return {"user": user, "ticket": digest.hexdigest()}

try:
    log_in(credentials["user"], credentials["password"], None)
except TypeError as e:
    print("refused at first:", type(e).__name__)
session = log_in(credentials["user"], credentials["password"], $key)
print("token", credentials["remuda_token"][::-1])
import logging
logging.warning("connected as %s", session["user"])
`

// TestSecretsStayWithTheirRun opens runspaces with credentials and looks for them, for
// the token and for the script's own secret: from a later script, in the log, in every
// file that the server has, before and after it was killed.
func TestSecretsStayWithTheirRun(t *testing.T) {
	w := newWorld(t, harness.JSON{"connection_script": "connect", "disconnect_script": "disconnect"}, "--log-level", "debug")
	user, secret, key := "ada-"+rand.Text(), "given-"+rand.Text(), "stored-"+rand.Text()
	w.store("connect", connect, key)
	w.store("disconnect", "print('bye', session['user'], 'credentials' in globals())", "")
	request := harness.JSON{"credentials": harness.JSON{"user": user, "password": secret}}
	rs := w.open(request)
	token := w.token(rs)
	w.warned(rs, "connected as "+user)
	w.attemptsWork(secret)
	for range 2 {
		w.later(rs.ID, map[string]string{"credentials": secret, "token": token, "stored secret": key})
		w.Kill()
		w.Up("--log-level", "debug")
	}
	w.onTheMachine(map[string]string{"credentials": secret, "token": token})
	// What the script's author put into a variable stays in the database with the
	// script, and goes nowhere else.
	if hits := w.files(key); slices.ContainsFunc(hits, func(path string) bool { return !strings.HasPrefix(filepath.Base(path), "remuda.db") }) {
		t.Errorf("%v have the stored secret", hits)
	}
	if strings.Contains(w.Log(), key) {
		t.Error("the log has the stored secret")
	}
	w.disconnects(rs, user)
}

// token is that of the connection script, which must be worth nothing by now.
func (w *world) token(rs runspace) string {
	w.t.Helper()
	stdout, stderr := w.Output(rs.ConnectionExecution)
	_, after, ok := strings.Cut(stdout, "token ")
	if !ok || !strings.Contains(stdout, "refused at first: TypeError") {
		w.t.Fatalf("the connection script says %q %q", stdout, stderr)
	}
	raw := []byte(strings.TrimSpace(after))
	slices.Reverse(raw)
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.Base+"/v1/whoami", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+string(raw))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if !bytes.HasPrefix(raw, []byte("rmd_")) || resp.StatusCode != http.StatusUnauthorized {
		w.t.Errorf("the token %s is still worth %d", raw, resp.StatusCode)
	}
	return string(raw)
}

// warned wants a message in the stream of warnings of the connection script.
func (w *world) warned(rs runspace, want string) {
	w.t.Helper()
	var stream []byte
	w.Call(http.MethodGet, "/v1/executions/"+rs.ConnectionExecution+"/streams/warning", nil, &stream)
	if !bytes.Contains(stream, []byte(`"`+want+`"`)) {
		w.t.Errorf("the stream of warnings is %s", stream)
	}
}

// attemptsWork proves that the search would find a secret that somebody kept, in each of
// the places that it looks into.
func (w *world) attemptsWork(word string) {
	w.t.Helper()
	other := w.Runspace(w.runtime)
	for what, plant := range map[string]string{
		"globals": "kept = 'WORD'", "a class": "class A:\n    x = ['WORD']", "the environment": "import os\nos.environ['A'] = 'WORD'", "a module": "import json\njson.kept = {'a': b'WORD'}",
		"a function": "def f(x='WORD'): pass", "a file": "open('f', 'w').write('WORD')", "another file": "open('/tmp/WORD', 'w').close()", "an argument": "import sys\nsys.argv.append('WORD')\nlast = sys.argv",
		"a closure": "def g():\n    x = 'WORD'\n    return lambda: x\nf = g()", "an exception": "import sys\ntry: raise ValueError('WORD')\nexcept ValueError as e: sys.last_value = e",
	} {
		if ex := w.RunIn(other, harness.JSON{"script": strings.ReplaceAll(plant, "WORD", word+what[:3])}); ex.State != "success" {
			w.t.Fatalf("planting in %s: %s", what, ex)
		}
		if found, _, where := w.looks(other, word+what[:3], nil); found == 0 {
			w.t.Errorf("the search does not find what is in %s: %s", what, where)
		}
	}
	if found, _, where := w.looks(other, "in-stdin", harness.JSON{"stdin": "in-stdin"}); found == 0 {
		w.t.Errorf("the search does not find what is in stdin: %s", where)
	}
}

// later looks from a later script of the same interpreter.
func (w *world) later(id string, words map[string]string) {
	w.t.Helper()
	for what, word := range words {
		found, looked, where := w.looks(id, word, nil)
		if found != 0 || looked < 1000 {
			w.t.Errorf("a later script finds the %s: %s", what, where)
		}
	}
	ex := w.RunIn(id, harness.JSON{"script": "session['ticket'], 'credentials' in globals(), [n for n in globals() if n.startswith('_var')]"})
	if ex.State != "success" || !strings.Contains(ex.Value.Text, "False, []") {
		w.t.Errorf("a later script sees %s: %v", ex, ex.Value)
	}
}

// onTheMachine looks at what the server has written, and shows that it looks at the
// right things.
func (w *world) onTheMachine(words map[string]string) {
	w.t.Helper()
	var rows []byte
	for _, path := range []string{"/v1/runspaces", "/v1/executions", "/v1/tokens"} {
		var page []byte
		w.Call(http.MethodGet, path, nil, &page)
		rows = append(rows, page...)
	}
	if !bytes.Contains(rows, []byte("connection")) || len(w.files("connected as")) == 0 || !strings.Contains(w.Log(), "runspace created") {
		w.t.Error("the proof does not look at the right things")
	}
	for what, word := range words {
		if hits := w.files(word); len(hits) > 0 {
			w.t.Errorf("%v have the %s", hits, what)
		}
		if strings.Contains(w.Log(), word) {
			w.t.Errorf("the log has the %s", what)
		}
		if bytes.Contains(rows, []byte(word)) {
			w.t.Errorf("an answer has the %s", what)
		}
	}
}

// files lists the files of the server's data directory that have a word.
func (w *world) files(word string) (hits []string) {
	w.t.Helper()
	err := filepath.WalkDir(w.Data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // what has just gone has nothing
		}
		raw, err := os.ReadFile(path)
		if err == nil && bytes.Contains(raw, []byte(word)) {
			hits = append(hits, path)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return hits
}

// disconnects closes the runspace, over two restarts, and wants its disconnect script
// to have had the interpreter.
func (w *world) disconnects(rs runspace, user string) {
	w.t.Helper()
	w.Call(http.MethodDelete, "/v1/runspaces/"+rs.ID, nil, nil)
	var page struct {
		Items []struct{ ID, Name, State string }
	}
	w.Call(http.MethodGet, "/v1/executions?runspace="+rs.ID, nil, &page)
	if len(page.Items) == 0 || page.Items[0].Name != "disconnect" || page.Items[0].State != "success" {
		w.t.Fatalf("the newest executions are %+v", page.Items)
	}
	if stdout, _ := w.Output(page.Items[0].ID); stdout != "bye "+user+" False\n" {
		w.t.Errorf("the disconnect script says %q", stdout)
	}
}
