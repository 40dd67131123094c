package layer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/layer"
	"github.com/remuda-run/remuda/internal/layer/indextest"
	"github.com/remuda-run/remuda/internal/remuda"
)

// stable is a registry with a scoped package, two versions of one, a program and an
// install script.
func stable(t testing.TB) *indextest.Npm {
	t.Helper()
	n := indextest.NewNpm(t)
	n.Publish(t, map[string]string{"package.json": `{"name":"hay","version":"1.0.0"}`, "index.js": "module.exports = 'old hay';"})
	n.Publish(t, map[string]string{"package.json": `{"name":"hay","version":"2.0.0"}`, "index.js": "module.exports = 'hay';"})
	n.Publish(t, map[string]string{"package.json": `{"name":"@stable/barn","version":"1.1.0","dependencies":{"hay":"^1.0.0"}}`, "index.js": "module.exports = 'barn with ' + require('hay');"})
	n.Publish(t, map[string]string{
		"package.json": `{"name":"pony","version":"3.0.0","type":"module","exports":"./index.js","bin":{"pony":"cli.js"},"dependencies":{"hay":"*","@stable/barn":"1"},"scripts":{"postinstall":"node made.js"}}`,
		"index.js":     "import hay from 'hay'; import barn from '@stable/barn'; export default 'pony eats ' + hay + ' in ' + barn;",
		"cli.js":       "#!/usr/bin/env node\nimport pony from './index.js'; console.log(pony);\n",
		"made.js":      "import fs from 'fs'; fs.writeFileSync('made.txt', 'by its own script');",
	})
	return n
}

func TestNpm(t *testing.T) {
	t.Parallel()
	n := stable(t)
	h := newHouse(t, layer.Settings{NpmRegistryURL: n.URL()})
	r := h.request(remuda.LanguageNode, pkg("pony", "^3"), pkg("hay", "2.0.0"))
	lock, l, p := h.make(r)
	if p.states["pony"] != "installed 3.0.0" || p.states["hay"] != "installed 2.0.0" {
		t.Errorf("states %v", p.states)
	}
	if len(lock.Packages) != 4 {
		t.Errorf("lock %+v", lock.Packages)
	}
	out := run(t, remuda.LanguageNode, r.Version, `
const hay = require('hay'), barn = require('@stable/barn');
const pony = (await import('pony')).default;
console.log(hay, '|', barn, '|', pony);
console.log(require('child_process').execSync('pony').toString().trim());
console.log(require('fs').readFileSync('/node_modules/pony/made.txt', 'utf8'));
`, l)
	const want = "hay | barn with old hay | pony eats hay in barn with old hay\npony eats hay in barn with old hay\nby its own script\n"
	if out != want {
		t.Errorf("got %q\nwant %q", out, want)
	}
}

func TestNpmWrongHash(t *testing.T) {
	t.Parallel()
	n := indextest.NewNpm(t)
	n.Publish(t, map[string]string{"package.json": `{"name":"liar","version":"1.0.0"}`, "index.js": ""}).
		Integrity = "sha512-" + strings.Repeat("A", 86) + "=="
	h := newHouse(t, layer.Settings{NpmRegistryURL: n.URL()})
	p, err := h.fails(h.request(remuda.LanguageNode, pkg("liar", "")))
	if layer.BlamedPackage(err) != "liar" || !strings.Contains(err.Error(), "another hash") {
		t.Errorf("got %v\n%s", err, p)
	}
}

func TestNpmAbsent(t *testing.T) {
	t.Parallel()
	n := stable(t)
	h := newHouse(t, layer.Settings{NpmRegistryURL: n.URL()})
	for _, one := range []remuda.Package{pkg("pony", "9.9.9"), pkg("unicorn", "")} {
		p, err := h.fails(h.request(remuda.LanguageNode, one, pkg("hay", "")))
		if layer.BlamedPackage(err) != one.Name || remuda.CodeOf(err) != remuda.CodeInvalid {
			t.Errorf("%s: got %v\n%s", one.Name, err, p)
		}
		if !strings.HasPrefix(p.states["hay"], "not_installed") || !strings.Contains(p.states["hay"], "because "+one.Name) {
			t.Errorf("states %v", p.states)
		}
	}
}

// TestNpmOfTheMachine uses the registry that the machine's npm has, if it answers.
func TestNpmOfTheMachine(t *testing.T) {
	t.Parallel()
	h := newHouse(t, layer.Settings{})
	r := h.request(remuda.LanguageNode, pkg("is-odd", "3.0.1"))
	p := &heard{}
	lock, err := h.Resolve(t.Context(), r, p)
	if err != nil {
		if strings.Contains(p.String(), "cannot be had") {
			t.Skipf("the registry of this machine is not to be reached: %v", err)
		}
		t.Fatalf("%v\n%s", err, p)
	}
	l, err := h.Install(t.Context(), h.org, lock, p)
	if err != nil {
		t.Fatalf("%v\n%s", err, p)
	}
	if out := run(t, remuda.LanguageNode, r.Version, "console.log(require('is-odd')(3), (await import('is-odd')).default(4))", l); out != "true false\n" {
		t.Errorf("got %q", out)
	}
}

// TestHostileInstall has an npm package whose install script leaves things in the
// tree that no layer may have, or takes what there is.
func TestHostileInstall(t *testing.T) {
	t.Parallel()
	mark := "remuda-stays-" + remuda.NewID("x")
	for name, c := range map[string]struct {
		script string // of Node.js
		want   string // in the error, "" is none
	}{
		"link out":      {"fs.symlinkSync('/etc/passwd', 'out')", "leads out of the tree"},
		"link above":    {"fs.symlinkSync('../../../../x', 'out')", "leads out of the tree"},
		"pipe":          {"cp.execSync('mkfifo pipe')", "only files"},
		"sparse":        {"fs.truncateSync(fs.openSync('big', 'w') && 'big', 2**40)", ""},
		"another place": {"fs.mkdirSync('/workspace/tree/etc'); fs.writeFileSync('/workspace/tree/etc/passwd', 'x')", "no place in a layer"},
		"stays":         {"cp.spawn('bash', ['-c', 'exec -a " + mark + " sleep 1000'], {detached: true, stdio: 'ignore'}).unref(); fs.writeFileSync('ran', '')", "-"},
		"privileges":    {"fs.writeFileSync('index.js', 'module.exports = 1'); fs.chmodSync('index.js', 0o6777); cp.execSync('chmod 000 .')", "-"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := indextest.NewNpm(t)
			n.Publish(t, map[string]string{
				"package.json": `{"name":"hostile","version":"1.0.0","scripts":{"postinstall":"node made.js"}}`, "index.js": "module.exports = 0;",
				"made.js": "const fs = require('fs'), cp = require('child_process');\n" + c.script + ";\nconsole.log('ran');",
			})
			h := newHouse(t, layer.Settings{NpmRegistryURL: n.URL()})
			r := h.request(remuda.LanguageNode, pkg("hostile", ""))
			if c.want != "-" {
				p, err := h.fails(r)
				if !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v\n%s", err, p)
				}
				empty(t, h)
				return
			}
			_, l, _ := h.make(r)
			st, err := os.Stat(filepath.Join(l.Path, "node/node_modules/hostile/index.js"))
			if err != nil || st.Mode()&^0o755 != 0 {
				t.Errorf("it is %v, %v", st, err)
			}
			if _, err := os.Stat(filepath.Join(l.Path, "node/node_modules/hostile/ran")); name == "stays" && err != nil {
				t.Errorf("the attempt was not made: %v", err)
			}
			if living(mark) {
				t.Error("a process of the build lives on")
			}
		})
	}
}
