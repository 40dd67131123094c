package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/remuda-run/remuda/internal/remuda"
)

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), FileName)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestLaterSourcesWin(t *testing.T) {
	t.Parallel()
	name := file(t, "data: /from/file\nlisten: 127.0.0.1:1\nlog_level: warn\ndrain_timeout: 5s\ntrusted_origins: [https://a.example, https://b.example]\n")
	got, err := Load(Sources{
		File:    name,
		Environ: []string{"REMUDA_LISTEN=127.0.0.1:2", "REMUDA_LOG_LEVEL=error", "REMUDA_TOKEN=secret", "HOME=/root"},
		Flags:   map[string]string{"log_level": "debug"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Data, want.Listen, want.LogLevel, want.Token = "/from/file", "127.0.0.1:2", "debug", "secret"
	want.DrainTimeout = 5 * time.Second
	want.TrustedOrigins = []string{"https://a.example", "https://b.example"}
	if diff := cmp.Diff(want, got.Config); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	places := map[string]string{}
	for _, v := range got.Values {
		places[v.Key] = v.Origin + " " + v.Detail + " " + v.Text
	}
	for key, want := range map[string]string{
		"data":         "file " + name + ":1 /from/file",
		"listen":       "environment REMUDA_LISTEN 127.0.0.1:2",
		"log_level":    "flag --log-level debug",
		"log_format":   "default  text",
		"token":        "environment REMUDA_TOKEN (set)",
		"metrics_open": "default  false",
	} {
		if places[key] != want {
			t.Errorf("%s is said to be %q, want %q", key, places[key], want)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		file string
		env  []string
		flag map[string]string
		want []string
	}{
		{name: "unknown key near a known one", file: "data: /x\nlisen: :1\n", want: []string{FileName + ":2", `unknown setting "lisen"`, `did you mean "listen"`}},
		{name: "unknown key near nothing", file: "zzzzzzzzzzzz: 1\n", want: []string{FileName + ":1", `unknown setting "zzzzzzzzzzzz"`}},
		{name: "unknown variable", env: []string{"REMUDA_LISTN=:1"}, want: []string{`unknown variable "REMUDA_LISTN"`, `did you mean "REMUDA_LISTEN"`}},
		{name: "twice", file: "data: /a\ndata: /b\n", want: []string{FileName + ":2", "set twice"}},
		{name: "group", file: "data:\n  x: 1\n", want: []string{"takes one value"}},
		{name: "list where a text belongs", file: "data: [a]\n", want: []string{"takes one value"}},
		{name: "not settings", file: "- a\n", want: []string{"expected settings"}},
		{name: "not YAML", file: "a: [\n", want: []string{"is not YAML"}},
		{name: "duration", flag: map[string]string{"drain_timeout": "soon"}, want: []string{"--drain-timeout", `"soon" is not a duration`, "30s"}},
		{name: "negative duration", flag: map[string]string{"drain_timeout": "-1s"}, want: []string{"not a duration"}},
		{name: "number", env: []string{"REMUDA_OUTPUT_LIMIT_MB=many"}, want: []string{"REMUDA_OUTPUT_LIMIT_MB", "whole number"}},
		{name: "number too small", env: []string{"REMUDA_OUTPUT_LIMIT_MB=0"}, want: []string{"REMUDA_OUTPUT_LIMIT_MB", "between 1 and 1024"}},
		{name: "bool", env: []string{"REMUDA_METRICS_OPEN=maybe"}, want: []string{"neither true nor false"}},
		{name: "half of TLS", env: []string{"REMUDA_TLS_CERT=/c"}, want: []string{"tls_cert and tls_key go together"}},
		{name: "listen", env: []string{"REMUDA_LISTEN=8080"}, want: []string{"REMUDA_LISTEN", "127.0.0.1:8080"}},
		{name: "level", file: "log_level: loud\n", want: []string{FileName + ":1", "debug, info, warn, error"}},
		{name: "network range", env: []string{"REMUDA_NETWORK_RANGE=10"}, want: []string{"REMUDA_NETWORK_RANGE", "198.18.0.0/15"}},
		{name: "network range that is small", env: []string{"REMUDA_NETWORK_RANGE=10.0.0.0/24"}, want: []string{"REMUDA_NETWORK_RANGE", "at least /20"}},
		{name: "network range of the other kind", env: []string{"REMUDA_NETWORK_RANGE6=10.0.0.0/8"}, want: []string{"REMUDA_NETWORK_RANGE6", "IPv6"}},
		{name: "name server", env: []string{"REMUDA_NETWORK_DNS=192.0.2.1,dns.example"}, want: []string{"REMUDA_NETWORK_DNS", "dns.example"}},
		{name: "megabits", env: []string{"REMUDA_NETWORK_MBIT=0"}, want: []string{"REMUDA_NETWORK_MBIT", "at least 1"}},
		{name: "range that may be listed", file: "network_allow: [10.0.0.1/8]\n", want: []string{FileName + ":1", "not a range"}},
		{name: "cgroup", env: []string{"REMUDA_CGROUP_PARENT=../x"}, want: []string{"not the name of a cgroup"}},
		{name: "origin", env: []string{"REMUDA_TRUSTED_ORIGINS=example.org"}, want: []string{"not an origin"}},
		{name: "url", env: []string{"REMUDA_URL=localhost:80"}, want: []string{"not the address of a server"}},
		{name: "prefix without a slash", env: []string{"REMUDA_COMPAT_STRATEGY_PREFIX=Library"}, want: []string{"REMUDA_COMPAT_STRATEGY_PREFIX", "/MicroStrategyLibrary"}},
		{name: "prefix that ends in a slash", env: []string{"REMUDA_COMPAT_STRATEGY_PREFIX=/Library/"}, want: []string{"is not a path"}},
		{name: "prefix that leads up", env: []string{"REMUDA_COMPAT_STRATEGY_PREFIX=/a/../v1"}, want: []string{"is not a path"}},
		{name: "prefix that is taken", env: []string{"REMUDA_COMPAT_STRATEGY_PREFIX=/v1/strategy"}, want: []string{"taken by the native API"}},
		{name: "meaning of versions", file: "compat_strategy_versions: nearest\n", want: []string{FileName + ":1", "neither compatible nor exact"}},
		{name: "session without time", env: []string{"REMUDA_COMPAT_STRATEGY_SESSION_TIMEOUT=0s"}, want: []string{"between 1s and 720h"}},
		{name: "what a stop does", file: "runspace_on_stop: leave\n", want: []string{FileName + ":1", "neither keep nor close"}},
		{name: "linger that is too long", env: []string{"REMUDA_RUNSPACE_LINGER=25h"}, want: []string{"REMUDA_RUNSPACE_LINGER", "24h"}},
		{name: "active time that is too short", env: []string{"REMUDA_RUNSPACE_ACTIVE_TIMEOUT=1ms"}, want: []string{"less than a second"}},
		{name: "no runspaces", env: []string{"REMUDA_RUNSPACE_MAX=0"}, want: []string{"at least 1"}},
		{name: "little memory", env: []string{"REMUDA_RUNSPACE_MEMORY_MB=2"}, want: []string{"between 16"}},
		{name: "short history", env: []string{"REMUDA_EXECUTION_KEEP_FOR=1s"}, want: []string{"less than a minute"}},
		{name: "door without a runtime", env: []string{"REMUDA_COMPAT_SRS_RUNTIME="}, want: []string{"must name a runtime"}},
		{name: "prefix of the other door", env: []string{"REMUDA_COMPAT_STRATEGY_PREFIX=/api/strategy"}, want: []string{"taken by the API of Script Runtime Service"}},
		{name: "several at once", file: "lisen: x\n", env: []string{"REMUDA_LISTN=:1"}, want: []string{"lisen", "REMUDA_LISTN"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			src := Sources{Environ: c.env, Flags: c.flag}
			if c.file != "" {
				src.File = file(t, c.file)
			}
			_, err := Load(src)
			if remuda.CodeOf(err) != remuda.CodeInvalid {
				t.Fatalf("got error %v, want an invalid one", err)
			}
			e, ok := errors.AsType[*remuda.Error](err)
			if !ok {
				t.Fatalf("%v is of type %T", err, err)
			}
			all := e.Error()
			for _, f := range e.Fields {
				all += "\n" + f.Field + ": " + f.Message
			}
			for _, want := range c.want {
				if !strings.Contains(all, want) {
					t.Errorf("%q is missing in:\n%s", want, all)
				}
			}
			if e.Remedy == "" {
				t.Error("no remedy")
			}
		})
	}
}

func TestVariablesThatAreNotSettings(t *testing.T) {
	t.Parallel()
	_, err := Load(Sources{Environ: []string{
		"REMUDA_PORT=tcp://10.0.0.1:8080", "REMUDA_PORT_8080_TCP=x", "REMUDA_SERVICE_HOST=10.0.0.1", "REMUDA_CONFIG=/x", "REMUDA_TEST_VM=1",
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheFileThatIsRead(t *testing.T) {
	t.Parallel()
	first, second := file(t, "data: /first\n"), file(t, "data: /second\n")
	got, err := Load(Sources{SearchPaths: []string{"/nonexistent/remuda.yaml", first, second}})
	if err != nil || got.Config.Data != "/first" || got.File != first {
		t.Errorf("read %q (data %q), error %v; want %q", got.File, got.Config.Data, err, first)
	}
	if got, err := Load(Sources{SearchPaths: []string{"/nonexistent"}}); err != nil || got.File != "" {
		t.Errorf("no file gave %v, %v", got, err)
	}
	if _, err := Load(Sources{File: "/nonexistent/remuda.yaml"}); err == nil {
		t.Error("a named file that does not exist must be an error")
	}
	if got, err := Load(Sources{File: file(t, "# nothing\n")}); err != nil || got.Config.Data != Default().Data {
		t.Errorf("a file of comments gave %v", err)
	}
	env := map[string]string{"HOME": "/home/a"}
	lookup := func(k string) (string, bool) { v, ok := env[k]; return v, ok }
	if diff := cmp.Diff([]string{"/home/a/.config/remuda/remuda.yaml", "/etc/remuda/remuda.yaml"}, SearchPaths(lookup)); diff != "" {
		t.Error(diff)
	}
}

// Every default must be something that Parse reads back to the same value, and
// every field must be documented.
func TestSettingsAreWhole(t *testing.T) {
	t.Parallel()
	def := reflect.ValueOf(Default())
	for i, s := range Settings() {
		if s.Key == "" || s.Help == "" || s.Group == "" || strings.HasSuffix(s.Help, ".") {
			t.Errorf("setting %d (%+v) lacks a tag", i, s)
		}
		if s.Default == "" {
			continue
		}
		got, err := s.Parse(s.Default)
		if err != nil || !reflect.DeepEqual(got, def.Field(i).Interface()) {
			t.Errorf("%s: default %q reads back as %v, %v", s.Key, s.Default, got, err)
		}
	}
	if _, err := Load(Sources{}); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
}

func FuzzFile(f *testing.F) {
	for _, seed := range []string{"data: /x\n", "a: &b c\ndata: *b\n", "- x", "{}", "data: !!binary aGk=\n", "? [a]\n: b\n", "trusted_origins: [1, {}]\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Load(Sources{File: file(t, text)})
		if err != nil && remuda.CodeOf(err) != remuda.CodeInvalid {
			t.Errorf("%q gave %v, which blames us", text, err)
		}
		if err == nil && len(got.Values) != len(Settings()) {
			t.Errorf("%q lost settings", text)
		}
	})
}
