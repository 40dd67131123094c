package srs_test

import (
	"testing"

	"github.com/remuda-run/remuda/internal/compat/compattest"
	"github.com/remuda-run/remuda/test/harness"
)

// differs is what differs between the run that is shown and this one.
var differs = harness.Alike(
	`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`, "ID",
	`\bwc[0-9a-f]{12}\b`, "CONSOLE",
	`"version":"[^"]*"`, "VERSION",
	`\d{4}-\d\d-\d\dT[0-9:.]+\+00:00`, "TIME",
)

// TestWalkThroughOfTheDocument runs the commands of docs/srs.md against a fresh server.
func TestWalkThroughOfTheDocument(t *testing.T) {
	t.Parallel()
	ada := startReal(t).member("ada", "administrator", "default")
	harness.Document{
		Path: "../../../docs/srs.md", Least: 8, Alike: differs,
		Env: []string{"SRS=" + ada.server.Base, "SRS_USER=ada", "SRS_PASSWORD=" + compattest.Password},
	}.Run(t)
}
