package connection

import (
	"flag"
	"os/exec"
	"testing"

	"github.com/remuda-run/remuda/test/harness"
)

var update = flag.Bool("update", false, "write what the commands of the documents show into them")

// TestDocuments runs the commands of each document against a fresh server.
func TestDocuments(t *testing.T) {
	if _, err := exec.LookPath("jq"); err != nil {
		t.Fatal("the commands need jq: run scripts/install.sh test")
	}
	for _, name := range []string{"../../docs/limits.md", "../../docs/connection-scripts.md", "../../docs/streams.md"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			harness.Document{Path: name, Least: 3, Env: []string{"URL=" + w.Base, "TOKEN=" + w.Token}, Update: *update}.Run(t)
		})
	}
}
