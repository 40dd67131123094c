package script

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"

	"github.com/remuda-run/remuda/internal/layer/indextest"
	"github.com/remuda-run/remuda/test/harness"
)

// jqid prints the id in the JSON of -o json: of the object, of the execution in
// it, or of the first item of a list (the one with the given name).
const jqid = `#!/usr/bin/python3
import json, sys
v = json.load(sys.stdin)
v = v.get("execution", v)
named = [i for i in v.get("items", [v]) if sys.argv[1:] in ([], [i.get("name")])]
print(named[0]["id"])
`

func TestScripts(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, "--config", packageIndex(t))
	bin := t.TempDir()
	program, err := filepath.Abs(harness.Program(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, filepath.Join(bin, "remuda")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "jqid"), []byte(jqid), 0o755); err != nil {
		t.Fatal(err)
	}
	const password = "script and password"
	s.Call("POST", "/v1/users", harness.JSON{"name": "script-admin", "password": password}, nil)
	s.Call("PUT", "/v1/organizations/default/members/script-admin", harness.JSON{"role": "administrator"}, nil)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			env.Setenv("REMUDA_URL", s.Base)
			env.Setenv("REMUDA_TOKEN", s.Token)
			env.Setenv("DATA", s.Data)
			if err := os.WriteFile(filepath.Join(env.WorkDir, "password"), []byte(password+"\n"), 0o600); err != nil {
				return err
			}
			examples, err := filepath.Abs("../../examples")
			env.Setenv("EXAMPLES", examples)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"local": local, "status": status, "copydb": copydb},
	})
}

// packageIndex serves a package index with script-alpha and script-beta, which needs
// the former, and with what the examples want, and returns a file of settings that
// names it.
func packageIndex(t *testing.T) string {
	t.Helper()
	index := indextest.NewPython(t)
	index.Wheel(t, indextest.Project{Name: "script-alpha", Version: "1.0", Files: map[string]string{"script_alpha.py": "word = 'from alpha'\n"}})
	index.Wheel(t, indextest.Project{Name: "script-alpha", Version: "1.1", Files: map[string]string{"script_alpha.py": "word = 'from newer alpha'\n"}})
	index.Wheel(t, indextest.Project{
		Name: "script-beta", Version: "2.0", Requires: []string{"script-alpha"},
		Files: map[string]string{"script_beta.py": "from script_alpha import word\n"},
	})
	index.Sdist(t, indextest.Project{Name: "script-slow", Version: "1.0", Files: map[string]string{"script_slow.py": ""}, Setup: "import time; time.sleep(600)"})
	for _, name := range []string{"requests", "humanize"} {
		index.Wheel(t, indextest.Project{Name: name, Version: "1.0", Files: map[string]string{name + ".py": "stands_for = 'the real one'\n"}})
	}
	settings := filepath.Join(t.TempDir(), "remuda.yaml")
	if err := os.WriteFile(settings, []byte("packages_pip_index_url: "+index.URL()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return settings
}

// local runs the program without a server configured.
func local(ts *testscript.TestScript, neg bool, args []string) {
	url, token := ts.Getenv("REMUDA_URL"), ts.Getenv("REMUDA_TOKEN")
	ts.Setenv("REMUDA_URL", "")
	ts.Setenv("REMUDA_TOKEN", "")
	defer func() {
		ts.Setenv("REMUDA_URL", url)
		ts.Setenv("REMUDA_TOKEN", token)
	}()
	err := ts.Exec("remuda", args...)
	if neg == (err == nil) {
		ts.Fatalf("remuda %s: %v, which is not what was wanted", strings.Join(args, " "), err)
	}
}

// status runs a command that must end with the given status: status 124 [local]
// remuda run ...
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command...")
	}
	want, command := args[0], args[1:]
	script := `"$@"; s=$?; [ "$s" = "$0" ] || { echo "exit status $s, want $0" >&2; exit 1; }`
	if err := ts.Exec("bash", append([]string{"-c", script, want}, command...)...); err != nil {
		ts.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
}

// copydb copies the database of the running server into a new data directory and
// alters the copy: copydb DIR [STATEMENT], with the id of the organization that has
// the most audit entries for the one parameter.
func copydb(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: copydb DIR [STATEMENT]")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.Mkdir(dir, 0o700))
	source, err := sql.Open("sqlite", "file:"+filepath.Join(ts.Getenv("DATA"), "remuda.db"))
	ts.Check(err)
	defer func() { _ = source.Close() }()
	target := filepath.Join(dir, "remuda.db")
	_, err = source.Exec("VACUUM INTO ?", target)
	ts.Check(err)
	if len(args) == 1 {
		return
	}
	db, err := sql.Open("sqlite", "file:"+target)
	ts.Check(err)
	defer func() { _ = db.Close() }()
	var org string
	var entries int
	ts.Check(db.QueryRow("SELECT organization, max(seq) FROM audit_entries GROUP BY organization ORDER BY 2 DESC").Scan(&org, &entries))
	done, err := db.Exec(args[1], org)
	ts.Check(err)
	if n, err := done.RowsAffected(); err != nil || n == 0 || entries < 3 {
		ts.Fatalf("%s changed %d rows of a log of %d entries: %v", args[1], n, entries, err)
	}
}
