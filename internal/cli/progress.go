package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

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
	// generation of each runtime that seen is of.
	generation map[string]int

	stop  chan struct{} // ends the clock of the bar
	clock sync.WaitGroup
}

// newProgress is for the runtimes that are being built.
func (c *command) newProgress(items []api.Runtime) *progress {
	p := &progress{w: c.Stderr, seen: map[string]map[string]remuda.PackageState{}, generation: map[string]int{}}
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
		p.bar, p.stop = newBar(c.Stderr, packages), make(chan struct{})
		p.clock.Go(p.tick)
	}
	return p
}

// tick draws the bar anew each second, so that its clock goes on while an installer
// says nothing.
func (p *progress) tick() {
	seconds := time.NewTicker(time.Second)
	defer seconds.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-seconds.C:
			p.mu.Lock()
			_ = p.bar.RenderBlank() // a terminal that has gone away is noticed elsewhere
			p.mu.Unlock()
		}
	}
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
	if was == nil || p.generation[rt.Name] != b.Generation { // somebody may have changed it meanwhile
		was = map[string]remuda.PackageState{}
		p.seen[rt.Name], p.generation[rt.Name] = was, b.Generation
		p.line(fmt.Sprintf("runtime/%s: building generation %d", rt.Name, b.Generation))
	}
	for _, pkg := range b.Packages {
		now := remuda.PackageState(pkg.Status)
		if now == remuda.PackageUnknown || was[pkg.Name] == now {
			continue
		}
		was[pkg.Name] = now
		p.line(fmt.Sprintf("runtime/%s: %s", rt.Name, packageText(pkg)))
	}
	p.count()
}

// count moves the bar to the number of packages that have been dealt with, and names
// one that is being dealt with.
func (p *progress) count() {
	if p.bar == nil {
		return
	}
	done, now := 0, "building"
	for _, rt := range slices.Backward(slices.Sorted(maps.Keys(p.seen))) {
		for _, name := range slices.Backward(slices.Sorted(maps.Keys(p.seen[rt]))) {
			if p.seen[rt][name] == remuda.PackageInstalling {
				now = rt + ": " + name
			} else {
				done++
			}
		}
	}
	p.bar.Describe(printable(now))
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
	if p.stop != nil {
		close(p.stop)
		p.clock.Wait()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}
