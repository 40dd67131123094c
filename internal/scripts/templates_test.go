package scripts

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/remuda"
)

// hostile are values that want to be code somewhere. %s is a file that only code
// can make.
var hostile = []string{
	"", "plain", "a'b", `a"b`, `\`, `\'`, `\"`, "'''", `"""`, "`touch %s`", "$(touch %s)", "'; touch %s; '", `"; touch %s; "`, "a\nb", "\n", "a\r\nb", "\ttab",
	`' + __import__("os").system("touch %s") + '`, `" + str(__import__("os").system("touch %s")) + "`, `"+require("child_process").execSync("touch %s")+"`,
	"${require('child_process').execSync('touch %s')}", "#{x}", "%%s %%d", "{0}", "<value>", "<path>", "<id>", "é ü \u6f22\u5b57 \U0001f40e", "\u2028\u2029\u0085\u000b\u000c", "\u2018\u2019\u201a\u201b",
	"!!", "!$", "~", "*", "-n", "--", "\x01\x7f\x1b[31m", "use strict", strings.Repeat("'\"\\", 500),
}

func attempts(t *testing.T) (values []string, canary string) {
	t.Helper()
	canary = filepath.Join(t.TempDir(), "canary")
	for _, v := range hostile {
		values = append(values, strings.ReplaceAll(v, "%s", canary))
	}
	return values, canary
}

func interpreter(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip("no " + name + " here")
	}
	return path
}

// run gives a script to a real interpreter, as a file.
func run(t *testing.T, script string, command ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), command[0], append(command[1:], file)...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\nscript: %q", err, out, script)
	}
	return string(out)
}

func filled(t *testing.T, id string, fills ...map[string][]string) string {
	t.Helper()
	text, err := FillTemplate(id, fills)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestQuotingInRealInterpreters wants the values back that went in, whatever they
// look like, and nothing that they ask for done.
func TestQuotingInRealInterpreters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		program, id string
		wrap        func(script string) string
		proof       string // does what the hostile values want done; %s is the file
	}{
		{"python3", "python-literal", func(s string) string { return "import json\nprint(json.dumps((" + s + ")))" }, `__import__("os").system("touch %s")`},
		{"node", "node-literal", func(s string) string { return "console.log(JSON.stringify(" + s + "))" }, `require("child_process").execSync("touch %s")`},
	} {
		t.Run(c.id, func(t *testing.T) {
			t.Parallel()
			program := interpreter(t, c.program)
			values, canary := attempts(t)
			var fills []map[string][]string
			var singly strings.Builder // one process for all: starting one takes longer than what it is asked
			for _, v := range values {
				fills = append(fills, map[string][]string{"value": {v}})
				singly.WriteString(c.wrap(filled(t, c.id, fills[len(fills)-1])) + "\n")
			}
			lines := strings.Split(strings.TrimSpace(run(t, singly.String(), program)), "\n")
			for i, v := range values {
				var got string
				if err := json.Unmarshal([]byte(lines[min(i, len(lines)-1)]), &got); err != nil || got != v || len(lines) != len(values) {
					t.Errorf("%q came back as %q, %v", v, got, err)
				}
			}
			for what, script := range map[string]string{
				"one list":     filled(t, c.id, map[string][]string{"value": values}),
				"many entries": filled(t, c.id, fills...),
			} {
				var got []string
				if err := json.Unmarshal([]byte(run(t, c.wrap(script), program)), &got); err != nil || !slices.Equal(got, values) {
					t.Errorf("%s came back as %q, %v", what, got, err)
				}
			}
			untouched(t, canary, func() { run(t, strings.ReplaceAll(c.proof, "%s", canary), program) })
		})
	}
	t.Run("bash-word", func(t *testing.T) {
		t.Parallel()
		program := interpreter(t, "bash")
		values, canary := attempts(t)
		for _, v := range values {
			if got := run(t, filled(t, "bash-word", map[string][]string{"value": {v}}), program); got != v+"\n" {
				t.Errorf("%q came back as %q", v, got)
			}
		}
		want := strings.Join(values, "\n") + "\n"
		if got := run(t, filled(t, "bash-word", map[string][]string{"value": values}), program); got != want {
			t.Errorf("the list came back as %q", got)
		}
		untouched(t, canary, func() { run(t, "printf '%s' \"$(touch "+canary+")\"", program) })
	})
}

// untouched wants no file where the values wanted one, and then one where prove makes
// it: the attempt would have been seen.
func untouched(t *testing.T, canary string, prove func()) {
	t.Helper()
	if _, err := os.Stat(canary); err == nil {
		t.Error("a value was run")
	}
	prove()
	if _, err := os.Stat(canary); err != nil {
		t.Errorf("the proof does not work: %v", err)
	}
}

// TestOwnTemplatesRun runs the other templates of our languages for real.
func TestOwnTemplatesRun(t *testing.T) {
	t.Parallel()
	odd := filepath.Join(t.TempDir(), "it's \"odd\" $(x)")
	if err := os.WriteFile(odd, []byte("inside é"), 0o600); err != nil {
		t.Fatal(err)
	}
	print3, log := "print(%s)", "console.log(%s)"
	for id, c := range map[string]struct{ program, wrap, name, value, want string }{
		"python-int-by-string":      {"python3", print3, "value", "0042_0", ""}, // int("0042_0") is 420
		"python-datetime-by-string": {"python3", "print(%s.year)", "value", "2026-11-22T10:00:00", "2026"},
		"python-file-text":          {"python3", print3, "path", odd, "inside é"},
		"node-date-by-string":       {"node", "console.log((%s).getUTCFullYear())", "value", "2026-11-22T10:00:00Z", "2026"},
		"node-file-text":            {"node", log, "path", odd, "inside é"},
		"bash-file-text":            {"bash", "%s", "path", odd, "inside é"},
	} {
		if c.want == "" {
			c.want = "420"
		}
		script := strings.Replace(c.wrap, "%s", filled(t, id, map[string][]string{c.name: {c.value}}), 1)
		if got := strings.TrimSpace(run(t, script, interpreter(t, c.program))); got != c.want {
			t.Errorf("%s gave %q, want %q", id, got, c.want)
		}
	}
}

// TestPowerShellQuoting holds to PowerShell's own rule (a quote of any of its five
// forms is doubled); there is no PowerShell here to ask.
func TestPowerShellQuoting(t *testing.T) {
	t.Parallel()
	list := func(id, server string) map[string][]string {
		return map[string][]string{"id": strings.Split(id, "|"), "server": {server}}
	}
	for want, fills := range map[string][]map[string][]string{
		`Get-VM -Id 'vm-1','vm-2' -Server 's'`:                   {list("vm-1|vm-2", "s")},
		"Get-VM -Id 'a' -Server 's'\nGet-VM -Id 'b' -Server 't'": {list("a", "s"), list("b", "t")},
		`Get-VM -Id 'a''b' -Server 's'`:                          {list("a'b", "s")},
		`Get-VM -Id '''; rm x; ''' -Server '$(x)"` + "`" + `'`:   {list("'; rm x; '", `$(x)"`+"`")},
		"Get-VM -Id '‘‘’’‚‚‛‛' -Server '<id>'":                   {list("‘’‚‛", "<id>")},
		"Get-VM -Id '' -Server 'a\nb'":                           {list("", "a\nb")},
	} {
		if got := filled(t, "vm-by-id-server-name", fills...); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	seen, vendors := map[string]bool{}, 0
	for _, tpl := range Templates() {
		if seen[tpl.ID] {
			t.Errorf("%s is there twice", tpl.ID)
		}
		seen[tpl.ID] = true
		if tpl.Runtime == powerCLI {
			vendors++
		}
		var marks []string
		for _, m := range placeholderPattern.FindAllString(tpl.Text, -1) {
			marks = append(marks, strings.Trim(m, "<>"))
		}
		if !slices.Equal(marks, tpl.Placeholders) || tpl.ResultType == "" || tpl.quoting.quote == nil {
			t.Errorf("%+v has the placeholders %q in its text", tpl, marks)
		}
		one, err := Template(tpl.ID)
		if err != nil || one.Text != tpl.Text {
			t.Errorf("%s: %+v, %v", tpl.ID, one, err)
		}
	}
	if vendors != 33 || !seen["vm-by-id-server-instance-uuid"] || !seen["date-by-string"] {
		t.Errorf("%d templates of the vendor, want 33", vendors)
	}
	Templates()[0].Placeholders[0] = "changed"
	if Templates()[0].Placeholders[0] == "changed" {
		t.Error("a caller can change the templates")
	}
}

func TestFillingIsChecked(t *testing.T) {
	t.Parallel()
	good := map[string][]string{"value": {"x"}}
	for name, c := range map[string]struct {
		id    string
		fills []map[string][]string
		code  remuda.Code
		says  string
	}{
		"unknown":         {"absent", []map[string][]string{good}, remuda.CodeNotFound, "absent"},
		"nothing":         {"python-literal", nil, remuda.CodeInvalid, "between 1 and 1000"},
		"too much":        {"python-literal", slices.Repeat([]map[string][]string{good}, 1001), remuda.CodeInvalid, "between 1 and 1000"},
		"no value":        {"python-literal", []map[string][]string{good, {}}, remuda.CodeInvalid, "values[1].value needs a value"},
		"two for one":     {"python-int-by-string", []map[string][]string{{"value": {"1", "2"}}}, remuda.CodeInvalid, "exactly one"},
		"other name":      {"python-literal", []map[string][]string{{"value": {"x"}, "valeu": {"y"}}}, remuda.CodeInvalid, `"valeu"`},
		"NUL":             {"bash-word", []map[string][]string{{"value": {"a\x00b"}}}, remuda.CodeInvalid, "NUL"},
		"no UTF-8":        {"bash-word", []map[string][]string{{"value": {"\xff"}}}, remuda.CodeInvalid, "UTF-8"},
		"too long":        {"bash-word", []map[string][]string{{"value": {strings.Repeat("x", maxValueBytes+1)}}}, remuda.CodeInvalid, "at most"},
		"too many":        {"bash-word", []map[string][]string{{"value": slices.Repeat([]string{"x"}, 1001)}}, remuda.CodeInvalid, "1001 values"},
		"too much in all": {"python-literal", slices.Repeat([]map[string][]string{{"value": slices.Repeat([]string{strings.Repeat("é", maxValueBytes/2)}, 10)}}, 10), remuda.CodeInvalid, "a script of more than"},
	} {
		text, err := FillTemplate(c.id, c.fills)
		if text != "" || remuda.CodeOf(err) != c.code || !strings.Contains(err.Error()+fieldsOf(err), c.says) {
			t.Errorf("%s: got %q, %v; want %s that says %q", name, text, err, c.code, c.says)
		}
	}
}

// FuzzFillTemplate wants what was quoted to read back as it was, by a reader of each
// language's rules that knows nothing of the writer.
func FuzzFillTemplate(f *testing.F) {
	for _, seed := range hostile {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for id, read := range map[string]func(string) (string, bool){
			"python-literal": readPython, "node-literal": readNode, "bash-word": readBash, "date-by-string": readPowerShell,
		} {
			script, err := FillTemplate(id, []map[string][]string{{"value": {value}}})
			if err != nil {
				if remuda.CodeOf(err) != remuda.CodeInvalid {
					t.Fatalf("%s: %v", id, err)
				}
				continue
			}
			if got, ok := read(script); !ok || got != value {
				t.Errorf("%s: %q was written as %q and reads as %q, %v", id, value, script, got, ok)
			}
		}
	})
}
