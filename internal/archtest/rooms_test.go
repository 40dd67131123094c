package archtest

import (
	"slices"
	"strings"
	"testing"
)

// rooms is the house from the ground up. A package belongs to the room with the
// longest matching name; it may import its own room and rooms on lower floors.
// Rooms on one floor do not know each other, unless beside says so.
var rooms = []struct {
	name  string
	floor int
}{
	{"internal/remuda", 0},

	{"internal/guest/protocol", 1},
	{"internal/telemetry", 1},
	{"internal/secret", 1},
	{"internal/i18n", 1},
	{"internal/authz", 1},
	{"api", 1},

	{"internal/store", 2},
	{"internal/guest", 2},

	{"internal/image", 3},
	{"internal/egress", 3},
	{"internal/engine", 4},
	{"cmd/remuda-init", 5},

	{"internal/layer", 5},
	{"internal/schedule", 5},
	{"internal/pool", 5},

	{"internal/audit", 6},
	{"internal/authn", 6},
	{"internal/organizations", 7},
	{"internal/environments", 7},
	{"internal/runtimes", 7},
	{"internal/executions", 7},
	{"internal/runspaces", 7},
	{"internal/terminals", 7},
	{"internal/scripts", 7},
	{"internal/sessions", 7},

	{"internal/httpapi", 8},
	{"internal/native", 9},
	{"internal/compat", 9},
	{"internal/console", 9},
	{"internal/mcpserver", 9},

	{"client", 9},
	{"internal/config", 9},
	{"internal/bench", 10},
	{"internal/app", 10},
	{"internal/cli", 11},
	{"cmd/remuda", 12},

	{"test", 13},
	{"tools", 13},
	{"examples", 13},
	{"internal/archtest", 13},
	{"internal/compat/compattest", 13}, // a suite over the real services; no door, but for tests only
}

// beside lists the imports that are meant to be between rooms of one floor.
var beside = map[string][]string{
	// Runspaces run executions, and both need a runtime's definition.
	"internal/executions": {"internal/runtimes", "internal/runspaces"},
	"internal/runspaces":  {"internal/runtimes"},
	"internal/terminals":  {"internal/runtimes"},
}

// closed lists what a room may not import although it lies below: the room, and
// the imports that are refused (with everything beneath them).
var closed = map[string][]string{
	"internal/httpapi": {"internal/store", "internal/pool", "internal/schedule", "internal/engine", "internal/guest", "internal/audit", "internal/organizations", "internal/runtimes", "internal/executions", "internal/runspaces", "internal/terminals", "internal/scripts", "internal/sessions"},
	"internal/native":  {"internal/store", "internal/pool", "internal/schedule", "internal/engine/", "internal/guest"},
	"internal/compat":  {"internal/store", "internal/pool", "internal/schedule", "internal/engine", "internal/guest", "internal/native"},
	"internal/pool":    {"internal/store", "internal/engine/", "internal/guest"},
	"internal/engine":  {"internal/store", "internal/authz"},
	"internal/guest":   {"internal/store", "internal/authz", "internal/telemetry"},
	"client":           {"internal/"},
}

// roomOf returns the room of a package path below the module, and its floor.
func roomOf(pkg string) (name string, floor int, ok bool) {
	for _, r := range rooms {
		if (pkg == r.name || strings.HasPrefix(pkg, r.name+"/")) && len(r.name) > len(name) {
			name, floor, ok = r.name, r.floor, true
		}
	}
	return name, floor, ok
}

// refused says why package from may not import package to, or "".
func refused(from, to string) string {
	room, floor, ok := roomOf(from)
	if !ok {
		return "package " + from + " has no room: give it one in internal/archtest/rooms_test.go"
	}
	target, below, ok := roomOf(to)
	switch {
	case !ok:
		return "package " + to + " has no room: give it one in internal/archtest/rooms_test.go"
	case room == "internal/compat" && target == room:
		return betweenDoors(from, to)
	case room == target:
		return ""
	case below > floor:
		return "arrows point down: " + target + " lies above " + room
	case below == floor && !slices.Contains(beside[room], target):
		return room + " and " + target + " lie on one floor and do not know each other"
	}
	for _, no := range closed[room] {
		if to == strings.TrimSuffix(no, "/") && no != to {
			continue // "engine/" closes what is beneath, not the interface itself
		}
		if to == no || strings.HasPrefix(to, strings.TrimSuffix(no, "/")+"/") {
			return room + " may not know " + to
		}
	}
	return ""
}

// betweenDoors refuses imports from one door to another.
func betweenDoors(from, to string) string {
	door := func(pkg string) string {
		rest := strings.TrimPrefix(pkg, "internal/compat/")
		name, _, _ := strings.Cut(rest, "/")
		return name
	}
	if a, b := door(from), door(to); a != b && b != "compattest" {
		return "door " + a + " may not import door " + b
	}
	return ""
}

func TestArrowsPointDown(t *testing.T) {
	t.Parallel()
	for _, f := range allGoFiles(t) {
		if _, _, ok := roomOf(f.dir); !ok {
			t.Errorf("%s: package %s has no room: give it one in internal/archtest/rooms_test.go", f.path, f.dir)
			continue
		}
		if f.test {
			continue // a test may bring the real parts of other rooms
		}
		for _, imported := range f.imports() {
			to, ours := strings.CutPrefix(imported, module+"/")
			if !ours {
				continue
			}
			if why := refused(f.dir, to); why != "" {
				t.Errorf("%s imports %s: %s", f.path, to, why)
			}
		}
	}
}

func TestForeignParts(t *testing.T) {
	t.Parallel()
	for _, f := range allGoFiles(t) {
		for _, imported := range f.imports() {
			first, _, _ := strings.Cut(imported, "/")
			foreign := strings.Contains(first, ".")
			switch {
			case f.dir == "internal/remuda" && foreign && !f.test:
				t.Errorf("%s imports %s: the words import the standard library only", f.path, imported)
			case first == "k8s.io" && f.dir != "internal/engine/kube":
				t.Errorf("%s imports %s: only internal/engine/kube talks to Kubernetes", f.path, imported)
			case imported == "database/sql" && !strings.HasPrefix(f.dir, "internal/store") && !f.test:
				t.Errorf("%s imports %s: SQL is spoken in internal/store", f.path, imported)
			case imported == "testing" && !f.test && !strings.HasSuffix(f.dir, "test") && !strings.HasPrefix(f.dir, "test/"):
				t.Errorf("%s imports testing: only tests and packages named ...test do", f.path)
			}
		}
	}
}

// TestRefused proves that the rules above refuse what they are meant to refuse.
func TestRefused(t *testing.T) {
	t.Parallel()
	cases := []struct {
		from, to string
		ok       bool
	}{
		{"internal/native", "internal/engine", true},
		{"internal/native", "internal/engine/local", false},
		{"internal/native", "internal/store", false},
		{"internal/httpapi", "internal/native", false},
		{"internal/httpapi/openapi", "internal/remuda", true},
		{"internal/compat/awx", "internal/compat/srs", false},
		{"internal/compat/awx", "internal/engine", false},
		{"internal/compat/awx", "internal/httpapi", true},
		{"internal/compat/strategy", "internal/scripts", true},
		{"internal/compat/strategy", "internal/native", false},
		{"internal/compat/strategy", "internal/store", false},
		{"internal/compat/strategy", "internal/pool", false},
		{"internal/scripts", "internal/executions", false},
		{"internal/pool", "internal/engine", true},
		{"internal/pool", "internal/engine/local", false},
		{"internal/pool", "internal/runtimes", false},
		{"internal/store", "internal/engine", false},
		{"internal/store", "internal/remuda", true},
		{"internal/engine/local", "internal/guest/protocol", true},
		{"internal/engine/local", "internal/store", false},
		{"internal/guest/init", "internal/guest/protocol", true},
		{"internal/guest/protocol", "internal/guest/init", false},
		{"internal/executions", "internal/runtimes", true},
		{"internal/runtimes", "internal/executions", false},
		{"internal/app", "internal/engine/local", true},
		{"internal/app", "internal/cli", false},
		{"internal/remuda", "internal/telemetry", false},
		{"client", "internal/remuda", false},
		{"internal/unheard", "internal/remuda", false},
	}
	for _, c := range cases {
		if why := refused(c.from, c.to); (why == "") != c.ok {
			t.Errorf("%s imports %s: refused with %q, want allowed=%t", c.from, c.to, why, c.ok)
		}
	}
}
