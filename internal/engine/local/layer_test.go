package local

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// writeLayer makes a layer of files; those below bin are programs.
func writeLayer(t *testing.T, id string, files map[string]string) engine.Layer {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "with:colon", id)
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return engine.Layer{ID: remuda.LayerID(id), Path: dir}
}

func layersOf(t *testing.T) []engine.Layer {
	return []engine.Layer{
		writeLayer(t, "one", map[string]string{
			"python/onlyone.py": "word = 'one'\n", "python/both.py": "word = 'one'\n",
			"node/node_modules/onlyone/index.js":     "module.exports = 'one';\n",
			"node/node_modules/esm/package.json":     `{"name":"esm","type":"module","exports":"./index.js"}`,
			"node/node_modules/esm/index.js":         "export default 'esm';\n",
			"python/typing.py":                       "raise ImportError('not the standard library')\n",
			"bin/layered":                            "#!/bin/sh\necho layered one\n",
			"usr/bin/laid-over":                      "#!/bin/sh\necho laid over\n",
			"usr/lib/python3/dist-packages/laid.py":  "word = 'laid'\n",
			"usr/nowhere/file":                       "",
			"usr/share/remuda-test-of-layers/notice": "shared\n",
		}),
		writeLayer(t, "two", map[string]string{
			"python/both.py": "word = 'two'\n", "node/node_modules/onlytwo/index.js": "module.exports = 'two';\n",
			"bin/layered": "#!/bin/sh\necho layered two\n",
		}),
	}
}

// layered are scripts, by language, that find what the layers hold, and what they
// print.
var layered = map[remuda.Language]struct{ script, want string }{
	remuda.LanguagePython: {`
import onlyone, both, laid, subprocess, sys, typing
typing.Any
print(onlyone.word, both.word, laid.word)
print(subprocess.run("layered; laid-over; cat /usr/share/remuda-test-of-layers/notice; python3 -c 'import onlyone; print(onlyone.word)'", shell=True, capture_output=True, text=True).stdout, end="")
`, "one one laid\nlayered one\nlaid over\nshared\none\n"},
	remuda.LanguageNode: {`
const one = require('onlyone'), two = require('onlytwo');
const esm = (await import('esm')).default;
console.log(one, two, esm, (await import('onlyone')).default);
`, "one two esm one\n"},
	remuda.LanguageBash: {`layered; laid-over; ls /usr/bin/bash /usr/bin/laid-over`, "layered one\nlaid over\n/usr/bin/bash\n/usr/bin/laid-over\n"},
}

func TestLayers(t *testing.T) {
	e := open(t, Options{})
	for language, c := range layered {
		t.Run(string(language), func(t *testing.T) {
			spec := templateSpec()
			spec.Language, spec.Layers = language, layersOf(t)
			if language == remuda.LanguagePython {
				spec.Preload = []string{"onlyone"}
			}
			cold, err := e.Create(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			check := func(kind string, res engine.Result, out string) {
				t.Helper()
				if res.State != remuda.ExecutionSuccess || out != c.want {
					t.Errorf("%s: got %s %q (%+v), want %q", kind, res.State, out, res.Error, c.want)
				}
			}
			res, out := runIn(t, cold, c.script)
			check("cold", res, out)
			hostile(t, "cold", cold, language)
			if err := cold.Destroy(t.Context()); err != nil {
				t.Fatal(err)
			}
			spec = upTemplate(t, e, spec)
			spec.ID = remuda.NewInstanceID()
			forked, err := e.Create(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			if !forked.(*Instance).blank.forked {
				t.Error("the second instance was not forked")
			}
			res, out = runIn(t, forked, c.script)
			check("forked", res, out)
			if language == remuda.LanguagePython {
				if _, out := runIn(t, forked, "import sys; print('onlyone' in sys.modules)"); out != "True\n" {
					t.Error("the template has not imported the layer's module")
				}
			}
			hostile(t, "forked", forked, language)
			if err := forked.Destroy(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, l := range spec.Layers {
				if _, err := os.Stat(filepath.Join(l.Path, "bin/layered")); err != nil {
					t.Errorf("the layer was harmed: %v", err)
				}
			}
		})
	}
}

// hostile tries to write to what layers are mounted at.
func hostile(t *testing.T, kind string, inst engine.Instance, language remuda.Language) {
	t.Helper()
	const attempt = `
for d in /layer /layer/0 /layer/0/bin /layer/1/bin /usr/bin /usr/share/remuda-test-of-layers /node_modules /node_modules/onlyone; do
  [ -d $d ] || { echo absent $d; continue; }
  (: > $d/new) 2>/dev/null && echo wrote $d
  mount -o remount,bind,rw $d 2>/dev/null && echo remounted $d
  umount $d 2>/dev/null && echo unmounted $d
  unshare -rm sh -c "mount -o remount,bind,rw $d && : > $d/new" 2>/dev/null && echo unshared $d
done
echo x 2>/dev/null >> /layer/0/bin/layered && echo appended
rm -f /layer/0/bin/layered 2>/dev/null && echo removed
chmod 4755 /layer/0/bin/layered 2>/dev/null && echo changed
while read -r _ _ _ root at attributes rest; do
  case $at in /layer/*|/node_modules|/usr/bin|/usr/share|/usr/lib) case $attributes in ro,*nosuid*nodev*) ;; *) echo "$at is $attributes" ;; esac ;; esac
done < /proc/self/mountinfo
echo tried`
	var script string
	switch language {
	case remuda.LanguageBash:
		script = attempt
	case remuda.LanguagePython:
		script = "import subprocess; print(subprocess.run(['sh', '-c', r'''" + attempt + "'''], capture_output=True, text=True).stdout, end='')"
	case remuda.LanguageNode:
		script = "process.stdout.write(require('child_process').execFileSync('sh', ['-c', String.raw`" + strings.ReplaceAll(attempt, "`", "") + "`], {encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore']}))"
	}
	if res, out := runIn(t, inst, script); out != "tried\n" {
		t.Errorf("%s: %q (%+v)", kind, out, res)
	}
}

// runIn runs a script and returns its end and output.
func runIn(t *testing.T, inst engine.Instance, script string) (engine.Result, string) {
	t.Helper()
	var out []byte
	res, err := inst.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: script, Timeout: time.Minute}, func(r remuda.OutputRecord) error {
		out = append(out, r.Data...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return res, string(out)
}

func TestLayerRefused(t *testing.T) {
	e := open(t, Options{Blanks: -1})
	spec := templateSpec()
	for name, c := range map[string]struct {
		layer engine.Layer
		code  remuda.Code
	}{
		"gone":     {engine.Layer{ID: "x", Path: filepath.Join(t.TempDir(), "gone")}, remuda.CodePrecondition},
		"relative": {engine.Layer{ID: "x", Path: "layers/x"}, remuda.CodeInvalid},
		"root":     {engine.Layer{ID: "x", Path: "/"}, remuda.CodeInvalid},
		"nameless": {engine.Layer{Path: "/srv"}, remuda.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			spec.Layers = []engine.Layer{c.layer}
			inst, err := e.Create(t.Context(), spec)
			if err == nil {
				_ = inst.Destroy(t.Context())
			}
			if remuda.CodeOf(err) != c.code {
				t.Errorf("got %v, want code %s", err, c.code)
			}
		})
	}
}

func TestListen(t *testing.T) {
	e := open(t, Options{})
	spec := templateSpec()
	spec.Generation = remuda.GenerationKey{}
	inst, err := e.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = inst.Destroy(context.Background()) }()
	l, err := inst.(engine.Listener).Listen(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = io.WriteString(c, "from outside")
			_ = c.Close()
		}
		served <- err
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// It is on the sandbox's loopback and not on the machine's.
	if c, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", l.Addr().String()); err == nil {
		_ = c.Close()
		t.Error("the machine can connect to it")
	}
	res, out := runIn(t, inst, "import socket; s = socket.create_connection(('127.0.0.1', "+port+")); print(s.recv(100).decode())")
	if out != "from outside\n" {
		t.Errorf("got %q (%+v)", out, res.Error)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := inst.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c, err := l.Accept(); err == nil {
		_ = c.Close()
		t.Error("it accepts after the instance's end")
	}
	if _, err := inst.(engine.Listener).Listen(t.Context(), 0); remuda.CodeOf(err) != remuda.CodeUnavailable {
		t.Errorf("listening in a sandbox that has ended: %v", err)
	}
}
