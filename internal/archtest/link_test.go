package archtest

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// dependencies returns every package that a program links.
func dependencies(t *testing.T, program string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "./"+program)
	cmd.Dir = root
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps ./%s: %v", program, err)
	}
	list := strings.Fields(string(out))
	if !slices.Contains(list, module+"/"+program) {
		t.Fatalf("go list says nothing of %s itself", program)
	}
	return list
}

func TestProgramLinksNoTests(t *testing.T) {
	t.Parallel()
	for _, pkg := range dependencies(t, "cmd/remuda") {
		name := strings.TrimPrefix(pkg, module+"/")
		switch {
		case pkg == "testing" || strings.HasPrefix(pkg, "testing/"),
			pkg == "net/http/pprof",
			name == "internal/engine/fake", strings.HasSuffix(name, "test") && name != pkg,
			strings.HasPrefix(pkg, "pgregory.net/rapid"), strings.HasPrefix(pkg, "go.uber.org/goleak"):
			t.Errorf("bin/remuda links %s", pkg)
		}
	}
}

// initMay is what the first process of a sandbox may link beside the standard
// library. Every package here is code that a hostile script could come to meet.
var initMay = []string{
	module + "/cmd/remuda-init",
	module + "/internal/remuda",
	module + "/internal/guest/init",
	module + "/internal/engine/local/launch", // the same program is the engine's launcher
	module + "/internal/engine/local/join",   // and what enters a sandbox for a terminal
	module + "/internal/guest/protocol",
	module + "/internal/guest/channel",
	"golang.org/x/sys/unix",
}

// initMayNot is the part of the standard library that has no business there.
var initMayNot = []string{"net", "net/http", "crypto/tls", "os/user", "plugin", "testing", "regexp", "text/template", "html/template", "database/sql"}

func TestInitLinksNextToNothing(t *testing.T) {
	t.Parallel()
	for _, pkg := range dependencies(t, "cmd/remuda-init") {
		first, _, _ := strings.Cut(pkg, "/")
		foreign := strings.Contains(first, ".")
		if foreign && !slices.Contains(initMay, pkg) || slices.Contains(initMayNot, pkg) {
			t.Errorf("remuda-init links %s; it is meant to link next to nothing", pkg)
		}
	}
}
