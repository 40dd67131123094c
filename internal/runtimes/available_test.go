package runtimes_test

import (
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runtimes"
	"github.com/remuda-run/remuda/internal/store"
)

// TestClassesOfTheMachine has a machine without runsc, and gvisor with what it
// cannot do.
func TestClassesOfTheMachine(t *testing.T) {
	t.Parallel()
	missing := &remuda.Error{Code: remuda.CodeUnsupported, Message: "this machine has no runsc", Cause: "it is not in PATH", Remedy: "run `make runsc`"}
	without := buildWith(t, filepath.Join(t.TempDir(), "remuda.db"), runtimes.Settings{Available: func(class remuda.Isolation) error {
		if class == remuda.IsolationGVisor {
			return missing
		}
		return nil
	}})
	with := build(t, filepath.Join(t.TempDir(), "remuda.db"))
	for _, h := range []*house{with, without} {
		err := h.store.Write(t.Context(), func(tx *store.Tx) error {
			return tx.InsertOrganization(t.Context(), remuda.Organization{ID: ours, Name: "ours"})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		on     *house
		class  remuda.Isolation
		egress []netip.Prefix
		field  string
		says   string
	}{
		"process needs nothing":       {on: without, class: remuda.IsolationProcess},
		"no runsc":                    {on: without, class: remuda.IsolationGVisor, field: "isolation", says: "make runsc"},
		"a machine that has all":      {on: with, class: remuda.IsolationGVisor},
		"gvisor reaches no network":   {on: with, class: remuda.IsolationGVisor, egress: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, field: "egress", says: "isolation process"},
		"process with what it listed": {on: with, class: remuda.IsolationProcess, egress: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
	} {
		_, err := c.on.CreateRuntime(t.Context(), deployer, remuda.Definition{
			Name: strings.ReplaceAll(name, " ", "-"), Language: remuda.LanguagePython, Isolation: c.class, Egress: remuda.Egress{CIDRs: c.egress},
		})
		if c.field == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		e, ok := errors.AsType[*remuda.Error](err)
		if !ok || len(e.Fields) != 1 || e.Fields[0].Field != c.field || !strings.Contains(e.Fields[0].Message, c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
