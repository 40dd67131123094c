package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/remuda"
)

func TestLanguage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       remuda.Language
	}{
		{"a.py", "", remuda.LanguagePython},
		{"dir.js/A.PY", "", remuda.LanguagePython},
		{"a.mjs", "", remuda.LanguageNode},
		{"a.cjs", "", remuda.LanguageNode},
		{"a.sh", "#!/usr/bin/python3\n", remuda.LanguageBash},
		{"a", "#!/usr/bin/env python3.11 -u\nx", remuda.LanguagePython},
		{"a", "#!/usr/bin/env -S node --test\n", remuda.LanguageNode},
		{"a", "#!/bin/sh", remuda.LanguageBash},
		{"a.txt", "#! /bin/bash -e\n", remuda.LanguageBash},
		{"a", "#!/usr/bin/perl\n", ""},
		{"", "print(1)\n#!/bin/sh\n", ""},
		{"", "", ""},
	} {
		got, known := (&script{name: c.name, text: c.text}).language()
		if got != c.want || known != (c.want != "") {
			t.Errorf("%q with %q is %q, want %q", c.name, c.text, got, c.want)
		}
	}
}

func TestReadScript(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "s.py")
	data := filepath.Join(dir, "in.csv")
	for name, text := range map[string]string{file: "print(1)", data: "a,b"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		flags scriptFlags
		args  []string
		stdin string
		want  script
		fails string
	}{
		{name: "file", args: []string{file, "a", "--b"}, stdin: "in", want: script{name: file, text: "print(1)", args: []string{"a", "--b"}, stdin: []byte("in")}},
		{name: "file and dashes", args: []string{file, "--", "a", "--", "b"}, want: script{name: file, text: "print(1)", args: []string{"a", "--", "b"}, stdin: []byte{}}},
		{name: "code", flags: scriptFlags{coded: true, code: "x"}, args: []string{"a"}, stdin: "in", want: script{text: "x", args: []string{"a"}, stdin: []byte("in")}},
		{name: "stdin is the script", stdin: "print(2)", want: script{text: "print(2)"}},
		{name: "dash", args: []string{"-", "a"}, stdin: "print(2)", want: script{text: "print(2)", args: []string{"a"}}},
		{
			name: "options", args: []string{file}, flags: scriptFlags{env: []string{"A=1=2", "OWN", "ABSENT"}, params: []string{"n=[1, {}]"}, files: []string{data, data + ":sub/x"}},
			want: script{
				name: file, text: "print(1)", args: []string{}, stdin: []byte{},
				env: map[string]string{"A": "1=2", "OWN": "mine"}, files: []remuda.File{{Path: "in.csv", Content: []byte("a,b")}, {Path: "sub/x", Content: []byte("a,b")}},
			},
		},
		{name: "parameter that is no JSON", flags: scriptFlags{coded: true, params: []string{"n=text"}}, fails: "not JSON"},
		{name: "parameter without a name", flags: scriptFlags{coded: true, params: []string{"=1"}}, fails: "not name=JSON"},
		{name: "parameter with a bad name", flags: scriptFlags{coded: true, params: []string{"a-b=1"}}, fails: "not name=JSON"},
		{name: "variable without a name", flags: scriptFlags{coded: true, env: []string{"=1"}}, fails: "no name"},
		{name: "file that leaves", flags: scriptFlags{coded: true, files: []string{data + ":../x"}}, fails: "inside the workspace"},
		{name: "file that is absolute", flags: scriptFlags{coded: true, files: []string{data + ":/x"}}, fails: "inside the workspace"},
		{name: "no such file", args: []string{filepath.Join(dir, "nosuch")}, fails: "no such file"},
		{name: "directory", args: []string{dir}, fails: "is a directory"},
		{name: "negative timeout", flags: scriptFlags{coded: true, timeout: -1}, fails: "negative"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cmd := &command{Env: &Env{Stdin: strings.NewReader(c.stdin), Environ: []string{"OWN=mine"}}}
			got, err := cmd.readScript(&c.flags, c.args)
			if c.fails != "" {
				if err == nil || !strings.Contains(describe(err).Cause, c.fails) {
					t.Errorf("got %v, want an error with %q", err, c.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got.parameters = nil
			if len(c.want.env) == 0 {
				got.env = nil
			}
			if diff := cmp.Diff(c.want, *got, cmp.AllowUnexported(script{})); diff != "" {
				t.Errorf("script (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStatusOf(t *testing.T) {
	t.Parallel()
	code := func(n int) *int { return &n }
	for _, c := range []struct {
		name string
		ex   api.Execution
		want int
	}{
		{"success", api.Execution{State: "success", ExitCode: code(0)}, 0},
		{"success without a code", api.Execution{State: "success"}, 0},
		{"own status", api.Execution{State: "error", ExitCode: code(7)}, 7},
		{"own status after a limit", api.Execution{State: "error", ExitCode: code(1), KilledBy: optional(api.KilledBy("disk"))}, 1},
		{"killed", api.Execution{State: "error", KilledBy: optional(api.KilledBy("memory"))}, 137},
		{"time", api.Execution{State: "timeout", KilledBy: optional(api.KilledBy("time")), ExitCode: code(1)}, 124},
		{"canceled", api.Execution{State: "canceled", KilledBy: optional(api.KilledBy("cancel"))}, 130},
		{"lost", api.Execution{State: "lost"}, 125},
		{"exception without a code", api.Execution{State: "error", Error: &api.ScriptError{}}, 1},
		{"error without anything", api.Execution{State: "error"}, 125},
	} {
		got := ExitOK
		if err := statusOf(c.ex); err != nil {
			status, _ := errors.AsType[exitStatus](err)
			got = int(status)
		}
		if got != c.want {
			t.Errorf("%s: status %d, want %d", c.name, got, c.want)
		}
	}
}

// A name that somebody else chose must not reach the terminal as control
// characters, and must not break the table.
func TestTable(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	table := newTable("NAME", "X")
	table.add("a\x1b[31m\nb", "1")
	table.add("ä", "2")
	if err := table.write(&b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("NAME      X\na?[31m?b  1\nä         2\n", b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestNotesStandOnALineOfTheirOwn(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	o := &scriptOutput{stdout: &out, stderr: &errs}
	for _, r := range []remuda.OutputRecord{{Stream: remuda.StreamStdout, Data: []byte("x")}, {Stream: remuda.StreamStderr, Data: []byte("half")}} {
		if err := o.sink(r); err != nil {
			t.Fatal(err)
		}
	}
	o.note("note")
	o.note("another")
	if errs.String() != "half\nnote\nanother\n" || out.String() != "x" {
		t.Errorf("got %q and %q", errs.String(), out.String())
	}
}

// Of several failures every one is told, and the first decides about the status.
func TestReportSeveral(t *testing.T) {
	t.Parallel()
	for output, want := range map[outputFormat]string{
		outputTable: "error: no token \"a\"\nerror: no token \"b\"\n",
		outputJSON:  `{"code":"not_found","title":"no token \"a\""}` + "\n" + `{"code":"not_found","title":"no token \"b\""}` + "\n",
	} {
		var errs bytes.Buffer
		c := &command{Env: &Env{Stderr: &errs}, output: output}
		err := each([]string{"a", "", "b"}, func(ref string) error {
			if ref == "" {
				return nil
			}
			return &remuda.Error{Code: remuda.CodeNotFound, Message: fmt.Sprintf("no token %q", ref)}
		})
		if status := c.report(err); status != ExitFailed || errs.String() != want {
			t.Errorf("status %d and\n%swant\n%s", status, errs.String(), want)
		}
	}
}

// The whole tree runs in process with the same struct that main fills in.
func TestRunInProcess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args           []string
		environ        []string
		status         int
		stdout, stderr string
	}{
		{args: []string{"version"}, stdout: "remuda test "},
		{args: []string{"config", "show", "--listen", "127.0.0.1:1"}, stdout: "--listen"},
		{args: []string{"runtime", "list"}, status: ExitFailed, stderr: "remedy: set REMUDA_URL"},
		{args: []string{"runtime", "list", "-o", "json"}, status: ExitFailed, stderr: `"code":"precondition"`},
		{args: []string{"nosuch"}, status: ExitUsage, stderr: `error: wrong usage: unknown command "nosuch"`},
		{args: []string{"run", "--nosuch"}, status: ExitNoResult, stderr: "unknown flag"},
		{args: []string{"serve", "--listen", ":1"}, status: ExitFailed, stderr: "refusing to serve plain HTTP"},
		{args: []string{"config", "show"}, environ: []string{"REMUDA_DATTA=x"}, status: ExitUsage, stderr: `did you mean "REMUDA_DATA"`},
	} {
		var stdout, stderr bytes.Buffer
		status := Run(t.Context(), &Env{Args: c.args, Environ: c.environ, Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Version: "test"})
		if status != c.status || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("remuda %s: status %d, want %d\nstdout: %s\nstderr: %s", strings.Join(c.args, " "), status, c.status, stdout.String(), stderr.String())
		}
	}
}
