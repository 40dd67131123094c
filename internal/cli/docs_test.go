package cli

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/remuda-run/remuda/internal/config"
)

var update = flag.Bool("update", false, "write the files that the tests compare with")

func TestDocumentation(t *testing.T) {
	t.Parallel()
	commands, configuration := documentation()
	for name, want := range map[string]string{"cli.md": commands, "configuration.md": configuration} {
		path := filepath.Join("../../docs", name)
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("docs/%s is not what the program says; run go test ./internal/cli -run TestDocumentation -update (-program +file):\n%s", name, diff)
		}
	}
}

// The example must be valid, and every line that is commented out must be so too.
func TestExampleSettings(t *testing.T) {
	t.Parallel()
	const name = "../../examples/remuda.yaml"
	if _, err := config.Load(config.Sources{File: name}); err != nil {
		t.Error(err)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, s := range config.Settings() {
		known[s.Key] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^(?:# )?([a-z_]+):`).FindAllStringSubmatch(string(raw), -1) {
		if !known[m[1]] {
			t.Errorf("%s has %q, which is no setting", name, m[1])
		}
	}
}
