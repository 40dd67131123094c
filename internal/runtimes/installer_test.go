package runtimes_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/layer"
	"github.com/remuda-run/remuda/internal/remuda"
)

// installer is a runtimes.Layers in memory: what a package's name says happens to
// it. It survives its server, as layers do.
//
//	ok-*    is installed
//	bad-*   is not to be had
//	slow-*  waits until it is told to go on
//	die-*   panics
type installer struct {
	mu       sync.Mutex
	gate     chan struct{} // slow builds wait for it
	began    chan string   // the first package of a build that has begun
	layers   map[string]bool
	resolved int
	canceled int
	revision int // of what is the latest
	used     map[remuda.OrganizationID][]remuda.LayerID
}

func newInstaller() *installer {
	return &installer{gate: make(chan struct{}), began: make(chan string, 100), layers: map[string]bool{}}
}

func (i *installer) Resolve(ctx context.Context, r layer.Request, p layer.Progress) (remuda.Lock, error) {
	i.mu.Lock()
	i.resolved++
	gate, revision := i.gate, i.revision
	i.mu.Unlock()
	select {
	case i.began <- r.Packages[0].Name:
	default: // nobody counts them
	}
	lock := remuda.Lock{Language: r.Language, Version: r.Version, Environment: r.Environment}
	for _, one := range r.Packages {
		p.Log(fmt.Appendf(nil, "collecting %s\n", one.Name))
		p.Package(one.Name, remuda.PackageInstalling, "", "")
		switch kind, _, _ := cut(one.Name); kind {
		case "bad":
			p.Package(one.Name, remuda.PackageNotInstalled, "", "nobody has it")
			return lock, &remuda.Error{Code: remuda.CodeUnavailable, Message: "no index has " + one.Name, Remedy: "choose another"}
		case "die":
			panic("scripted")
		case "slow":
			select {
			case <-gate:
			case <-ctx.Done():
				i.gaveUp()
				return lock, ctx.Err()
			}
		}
		version := one.Version
		if version == "" || version == "latest" {
			version = fmt.Sprint("1.", revision)
		}
		p.Package(one.Name, remuda.PackageInstalling, version, "")
		lock.Packages = append(lock.Packages, remuda.Locked{Manager: r.Language.ManagerOf(one), Name: one.Name, Version: version, Asked: true})
	}
	return lock, nil
}

func (i *installer) gaveUp() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.canceled++
}

func cut(name string) (kind, rest string, found bool) {
	for n, c := range name {
		if c == '-' {
			return name[:n], name[n+1:], true
		}
	}
	return name, "", false
}

func (i *installer) Install(_ context.Context, org remuda.OrganizationID, lock remuda.Lock, p layer.Progress) (engine.Layer, error) {
	id := remuda.LayerID(fmt.Sprint(lock.Version, lock.Packages))
	for _, one := range lock.Packages {
		p.Package(one.Name, remuda.PackageInstalled, one.Version, "")
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.layers[string(org)+string(id)] = true
	return engine.Layer{ID: id, Path: "/layers/" + string(id)}, nil
}

func (i *installer) Layer(org remuda.OrganizationID, id remuda.LayerID) (engine.Layer, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return engine.Layer{ID: id, Path: "/layers/" + string(id)}, i.layers[string(org)+string(id)]
}

func (i *installer) Collect(_ context.Context, used map[remuda.OrganizationID][]remuda.LayerID) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.used = used
	for key := range i.layers {
		kept := false
		for org, ids := range used {
			kept = kept || slices.ContainsFunc(ids, func(id remuda.LayerID) bool { return string(org)+string(id) == key })
		}
		if !kept {
			delete(i.layers, key)
		}
	}
	return nil
}

// goOn lets every slow build go on, those that begin later too.
func (i *installer) goOn() {
	i.mu.Lock()
	defer i.mu.Unlock()
	select {
	case <-i.gate:
	default:
		close(i.gate)
	}
}

// hold makes slow builds wait again.
func (i *installer) hold() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.gate = make(chan struct{})
}

func (i *installer) count() (layers, resolved, canceled int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.layers), i.resolved, i.canceled
}

// wantBegun waits for the build whose first package it is.
func (i *installer) wantBegun(t *testing.T, name string) {
	t.Helper()
	select {
	case got := <-i.began:
		if got != name {
			t.Fatalf("the build of %s began, want %s", got, name)
		}
	case <-t.Context().Done():
		t.Fatal(errors.New("no build began"))
	}
}

// asks is a definition with packages.
func asks(name string, packages ...string) remuda.Definition {
	d := remuda.Definition{Name: name, Language: remuda.LanguagePython}
	for _, p := range packages {
		d.Packages = append(d.Packages, remuda.Package{Name: p})
	}
	return d
}

func packagesOf(names ...string) *[]remuda.Package {
	d := asks("", names...)
	return &d.Packages
}
