package oci

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

func TestLayers(t *testing.T) {
	e := openEngine(t, Options{})
	dir := filepath.Join(t.TempDir(), "layer")
	for name, content := range map[string]string{
		"python/horse.py": "word = 'horse'\n", "node/node_modules/pony/index.js": "module.exports = 'pony';\n", "bin/layered": "#!/bin/sh\necho layered\n",
	} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for language, c := range map[remuda.Language][2]string{
		remuda.LanguagePython: {"import horse, subprocess\nprint(horse.word)\nprint(subprocess.getoutput('layered; echo x > /layer/0/bin/new || echo kept'))", "horse\nlayered\n"},
		remuda.LanguageNode:   {"console.log(require('pony'), (await import('pony')).default)", "pony pony\n"},
	} {
		one := spec(language)
		one.Layers = []engine.Layer{{ID: "x", Path: dir}}
		inst, err := e.Create(t.Context(), one)
		if err != nil {
			t.Fatal(err)
		}
		var out []byte
		res, err := inst.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: c[0], Timeout: time.Minute}, func(r remuda.OutputRecord) error {
			out = append(out, r.Data...)
			return nil
		})
		if err != nil || res.State != remuda.ExecutionSuccess || len(out) < len(c[1]) || string(out[:len(c[1])]) != c[1] {
			t.Errorf("%s: %v %+v %q", language, err, res, out)
		}
		if language == remuda.LanguagePython && string(out[max(0, len(out)-5):]) != "kept\n" {
			t.Errorf("a layer could be written to: %q", out)
		}
		if err := inst.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "bin")); err != nil || len(entries) != 1 {
		t.Errorf("the layer was changed: %v %v", entries, err)
	}
	if err := os.Mkdir(filepath.Join(dir, "usr"), 0o755); err != nil {
		t.Fatal(err)
	}
	one := spec(remuda.LanguagePython)
	one.Layers = []engine.Layer{{ID: "x", Path: dir}}
	if _, err := e.Create(t.Context(), one); remuda.CodeOf(err) != remuda.CodeUnsupported {
		t.Errorf("packages over /usr: %v", err)
	}
}
