package cli

import (
	"fmt"
	"io"
	"sync"

	"github.com/schollz/progressbar/v3"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/remuda"
)

// progress shows how builds get on, on standard error: one bar over the packages
// of all of them in a terminal, a line for each thing that happens elsewhere,
// nothing with -o json.
type progress struct {
	w   io.Writer
	bar *progressbar.ProgressBar // nil outside a terminal

	mu   sync.Mutex
	seen map[string]map[string]remuda.PackageState // runtime, package
}

// newProgress is for the runtimes that are being built.
func (c *command) newProgress(items []api.Runtime) *progress {
	p := &progress{w: c.Stderr, seen: map[string]map[string]remuda.PackageState{}}
	packages := 0
	for _, rt := range items {
		if remuda.RuntimeStatus(rt.Status) == remuda.RuntimeBusy {
			packages += len(rt.Packages)
		}
	}
	switch {
	case c.output == outputJSON:
		p.w = io.Discard
	case packages > 0 && isTerminal(c.Stderr):
		p.bar = newBar(c.Stderr, packages)
	}
	return p
}

func newBar(w io.Writer, packages int) *progressbar.ProgressBar {
	return progressbar.NewOptions(packages,
		progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(24), progressbar.OptionShowCount(),
		progressbar.OptionSetElapsedTime(true), progressbar.OptionSetPredictTime(false), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetDescription("building"),
		progressbar.OptionSetMaxDetailRow(0), progressbar.OptionSetRenderBlankState(true), progressbar.OptionSpinnerType(14))
}

// show tells what is new in a build.
func (p *progress) show(rt api.Runtime, b api.Build) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.seen[rt.Name]
	if was == nil {
		was = map[string]remuda.PackageState{}
		p.seen[rt.Name] = was
		p.line(fmt.Sprintf("runtime/%s: building generation %d", rt.Name, b.Generation))
	}
	for _, pkg := range b.Packages {
		now := remuda.PackageState(pkg.Status)
		if now == remuda.PackageUnknown || was[pkg.Name] == now {
			continue
		}
		was[pkg.Name] = now
		p.line(fmt.Sprintf("runtime/%s: %s", rt.Name, packageText(pkg)))
		if p.bar != nil {
			p.bar.Describe(printable(fmt.Sprintf("%s: %s", rt.Name, pkg.Name)))
		}
	}
	p.count()
}

// count moves the bar to the number of packages that have been dealt with.
func (p *progress) count() {
	if p.bar == nil {
		return
	}
	done := 0
	for _, packages := range p.seen {
		for _, state := range packages {
			if state == remuda.PackageInstalled || state == remuda.PackageNotInstalled {
				done++
			}
		}
	}
	_ = p.bar.Set(done) // a terminal that has gone away is noticed elsewhere
}

// line is for readers that are no terminal; the bar says the same there.
func (p *progress) line(text string) {
	if p.bar == nil {
		_, _ = fmt.Fprintln(p.w, printable(text))
	}
}

func packageText(pkg api.PackageStatus) string {
	switch remuda.PackageState(pkg.Status) {
	case remuda.PackageInstalled:
		return fmt.Sprintf("installed %s %s", pkg.Name, deref(pkg.Resolved))
	case remuda.PackageNotInstalled:
		return fmt.Sprintf("not installed %s: %s", pkg.Name, firstLine(deref(pkg.Message)))
	default:
		return "installing " + pkg.Name
	}
}

// end takes the bar away.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}
