package srs_test

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
	{regexp.MustCompile(`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`), "ID"},
	{regexp.MustCompile(`\bwc[0-9a-f]{12}\b`), "CONSOLE"},
	{regexp.MustCompile(`"version":"[^"]*"`), "VERSION"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+\+00:00`), "TIME"},
}

func alike(text string) string {
	for _, d := range differs {
		text = d.pattern.ReplaceAllLiteralString(text, d.name)
	}
	return strings.TrimSpace(text)
}

// TestWalkThroughOfTheDocument runs the commands of docs/srs.md against a fresh server.
func TestWalkThroughOfTheDocument(t *testing.T) {
	t.Parallel()
	ada := startReal(t).member("ada", "administrator", "default")
	harness.Document{
		Path: "../../../docs/srs.md", Least: 8, Alike: alike,
		Env: []string{"SRS=" + ada.server.Base, "SRS_USER=ada", "SRS_PASSWORD=" + compattest.Password},
	}.Run(t)
}
