package strategy_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/compat/compattest"
	"github.com/remuda-run/remuda/test/harness"
)

// differs is what differs between the run that is shown and this one.
var differs = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`\b[0-9A-F]{32}\b`), "ID"},
	{regexp.MustCompile(`\b[0-9a-f]{32}\b`), "TICKET"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`), "TIME"},
}

func alike(text string) string {
	for _, d := range differs {
		text = d.pattern.ReplaceAllLiteralString(text, d.name)
	}
	return strings.TrimSpace(text)
}

// TestWorkflowOfTheDocument runs the commands of docs/strategy.md against a fresh
// server.
func TestWorkflowOfTheDocument(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	harness.Document{
		Path: "../../../docs/strategy.md", Least: 5, Alike: alike,
		Env: []string{"LIBRARY=" + r.server.Base + prefix, "MSTR_USER=ada", "MSTR_PASSWORD=" + compattest.Password},
	}.Run(t)
}
