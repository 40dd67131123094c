package script

import (
	"testing"

	"github.com/remuda-run/remuda/test/harness"
)

// TestWalkThroughRunspaces runs the commands of docs/runspaces.md against a fresh server.
func TestWalkThroughRunspaces(t *testing.T) {
	t.Parallel()
	s := harness.Start(t)
	harness.Document{Path: "../../docs/runspaces.md", Least: 6, Env: []string{"URL=" + s.Base, "TOKEN=" + s.Token}}.Run(t)
}
