package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/remuda"
)

func building(name string, packages ...string) api.Runtime {
	rt := api.Runtime{Name: name, Status: api.RuntimeStatusBusy, Generation: 1}
	for _, p := range packages {
		rt.Packages = append(rt.Packages, api.PackageStatus{Name: p, Status: api.PackageStatusStatusUnknown})
	}
	return rt
}

func build(states ...string) api.Build {
	b := api.Build{Generation: 1, Status: api.RuntimeStatusBusy}
	for i, s := range states {
		b.Packages = append(b.Packages, api.PackageStatus{Name: string(rune('a' + i)), Status: api.PackageStatusStatus(s), Resolved: optional("1.0"), Message: optional("no\x1bsuch\nthing")})
	}
	return b
}

// Each thing is told once, and nothing that an installer said reaches the terminal
// as control characters.
func TestProgressLines(t *testing.T) {
	t.Parallel()
	var errs bytes.Buffer
	c := &command{Env: &Env{Stderr: &errs}}
	rt := building("x", "a", "b")
	p := c.newProgress([]api.Runtime{rt})
	for _, b := range []api.Build{build("unknown", "unknown"), build("installing", "unknown"), build("installing", "unknown"), build("installed", "not_installed"), build("installed", "not_installed")} {
		p.show(rt, b)
	}
	next := build("installed")
	next.Generation = 2
	p.show(rt, next)
	p.end()
	want := "runtime/x: building generation 1\nruntime/x: installing a\nruntime/x: installed a 1.0\nruntime/x: not installed b: no?such\n" +
		"runtime/x: building generation 2\nruntime/x: installed a 1.0\n"
	if diff := cmp.Diff(want, errs.String()); diff != "" {
		t.Error(diff)
	}
	errs.Reset()
	c.output = outputJSON
	p = c.newProgress([]api.Runtime{rt})
	p.show(rt, build("installed", "installed"))
	p.end()
	if errs.Len() > 0 {
		t.Errorf("with -o json it says %q", errs.String())
	}
}

// In a terminal there is one bar over the packages of all builds, which is gone at
// the end.
func TestProgressBar(t *testing.T) {
	t.Parallel()
	var screen bytes.Buffer
	x, y := building("x", "a", "b"), building("y", "a")
	p := &progress{w: &screen, bar: newBar(&screen, 3), seen: map[string]map[string]remuda.PackageState{}, generation: map[string]int{}}
	p.show(x, build("installing", "unknown"))
	p.show(y, build("installed"))
	p.show(x, build("installed", "installing"))
	text := screen.String()
	for _, want := range []string{"building", "0/3", "1/3", "2/3", "x: a", "x: b"} {
		if !strings.Contains(text, want) {
			t.Errorf("the bar has no %q: %q", want, text)
		}
	}
	if strings.Contains(text, "runtime/x") || strings.Contains(text, "\n") {
		t.Errorf("lines break the bar: %q", text)
	}
	screen.Reset()
	p.end()
	if rest := screen.String(); strings.Contains(rest, "building") || strings.Contains(rest, "/3") {
		t.Errorf("the bar stays: %q", rest)
	}
}
