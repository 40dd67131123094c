package strategy_test

import (
	"testing"

	"github.com/remuda-run/remuda/internal/compat/compattest"
	"github.com/remuda-run/remuda/test/harness"
)

// differs is what differs between the run that is shown and this one.
var differs = harness.Alike(
	`\b[0-9A-F]{32}\b`, "ID",
	`\b[0-9a-f]{32}\b`, "TICKET",
	`\d{4}-\d\d-\d\dT[0-9:.]+Z`, "TIME",
)

// TestWorkflowOfTheDocument runs the commands of docs/strategy.md against a fresh
// server.
func TestWorkflowOfTheDocument(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	harness.Document{
		Path: "../../../docs/strategy.md", Least: 5, Alike: differs,
		Env: []string{"LIBRARY=" + r.server.Base + prefix, "MSTR_USER=ada", "MSTR_PASSWORD=" + compattest.Password},
	}.Run(t)
}
