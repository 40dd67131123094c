package strategy_test

import (
	"strings"
	"testing"
)

// What scripts do that clients do not expect comes through as JSON all the same.
func TestOddEnds(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	for name, c := range map[string]struct {
		source, output, message string
		status                  int
		stdout, stderr          string // parts
	}{
		"bytes that are no text":      {"import sys; sys.stdout.buffer.write(b'\\xff\\xfe ok\\x00')", "6", "", 3, "\uFFFD ok\x00", ""},
		"a value without a JSON form": {"return {1, 2}", `"{1, 2}"`, "", 3, "", ""},
		"not a number":                {"return float('nan')", `"nan"`, "", 3, "", ""},
		"only a comment":              {"# $x is no variable here", "", "", 3, "", ""},
		"an exit":                     {"import sys; print('a'); sys.exit(3)", "", "SystemExit", 4, "a\n", ""},
		"an exit that is fine":        {"raise SystemExit", "", "", 3, "", ""},
		"no Python":                   {"return (", "", "SyntaxError", 4, "", "SyntaxError"},
		"a process that is killed":    {"import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "", "kill", 4, "", ""},
		"much output":                 {"print('x' * 3000000); return 1", "1", "", 3, strings.Repeat("x", 3000000) + "\n", ""},
		"recursion":                   {"def f(): return f()\nreturn f()", "", "RecursionError", 4, "", "RecursionError"},
		"a wall of brackets":          {"return " + strings.Repeat("(", 5000), "", "", 4, "", ""},
		"return in a branch":          {"import sys\nif sys.argv:\n    return 'early'\nreturn 'late'", `"early"`, "", 3, "", ""},
	} {
		e := r.evaluate(c.source, "")
		if e.Status != c.status || e.output() != c.output || !strings.Contains(strings.ToLower(e.Message), strings.ToLower(c.message)) ||
			!strings.Contains(e.Results.Stdout, c.stdout) || !strings.Contains(e.Results.Stderr, c.stderr) || c.status > 3 && e.Message == "" {
			e.Results.Stdout = e.Results.Stdout[:min(200, len(e.Results.Stdout))]
			t.Errorf("%s: got %+v, output %s", name, e, e.output())
		}
	}
	r.want(r.send("POST", "/api/scripts/evaluation", `{"scriptContent":""}`), 400, "ERR007")
	r.want(r.send("POST", "/api/scripts/evaluation", `{"scriptContent":"/w=="}`), 400, "ERR006")
	r.want(r.send("POST", "/api/scripts/evaluation", `{"scriptContent":"`+encoded("return $x")+`"}`), 400, "ERR006")
	// Names are what they were, whatever they have in them.
	for _, name := range []string{"(Default) Strategy", "Ünïcode Ωδή 🐎", "a/b?c#d%2F", "..x", "<script>", "'; DROP TABLE runtimes; --"} {
		id := r.create("/api/runtimes", `{"name":"`+name+`"}`, 201)
		if got := r.get("/api/runtimes/" + id); got["name"] != name {
			t.Errorf("%q became %v", name, got["name"])
		}
	}
}
