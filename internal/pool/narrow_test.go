package pool

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/remuda"
)

// reaching is the definition of the tests with an allow-list.
func reaching() remuda.Definition {
	def := definition(1, 1)
	def.Egress = remuda.Egress{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Names: []string{"a.example"}}
	return def
}

func TestNarrowedLeases(t *testing.T) {
	t.Parallel()
	full := reaching()
	one := remuda.Egress{Names: []string{"a.example"}}
	none := remuda.Egress{}
	refused := remuda.Errorf(remuda.CodeUnsupported, "no such knob")
	for name, c := range map[string]struct {
		claim    Claim
		refuse   error
		plain    bool // the engine's instances are no Narrowers
		narrowed []string
		cold     bool
		limits   remuda.Resources
		egress   remuda.Egress
	}{
		"nothing":            {limits: full.Resources, egress: full.Egress},
		"what it has":        {claim: Claim{Limits: full.Resources}, limits: full.Resources, egress: full.Egress},
		"processor":          {claim: Claim{Limits: remuda.Resources{CPU: 0.5}}, narrowed: []string{"cpu"}, limits: remuda.Resources{CPU: 0.5, MemoryMB: 64, DiskMB: 16, Pids: 16}, egress: full.Egress},
		"memory and pids":    {claim: Claim{Limits: remuda.Resources{MemoryMB: 32, Pids: 8}}, narrowed: []string{"memory_mb", "pids"}, limits: remuda.Resources{CPU: 1, MemoryMB: 32, DiskMB: 16, Pids: 8}, egress: full.Egress},
		"part of the egress": {claim: Claim{Egress: &one}, narrowed: []string{"egress"}, limits: full.Resources, egress: one},
		"no egress":          {claim: Claim{Egress: &none}, narrowed: []string{"egress"}, limits: full.Resources},
		"disk":               {claim: Claim{Limits: remuda.Resources{DiskMB: 4}}, cold: true, narrowed: []string{"disk_mb"}, limits: remuda.Resources{CPU: 1, MemoryMB: 64, DiskMB: 4, Pids: 16}, egress: full.Egress},
		"refused":            {claim: Claim{Limits: remuda.Resources{CPU: 0.5}, Egress: &none}, refuse: refused, cold: true, narrowed: []string{"cpu", "egress"}, limits: remuda.Resources{CPU: 0.5, MemoryMB: 64, DiskMB: 16, Pids: 16}},
		"not able":           {claim: Claim{Limits: remuda.Resources{Pids: 8}}, plain: true, cold: true, narrowed: []string{"pids"}, limits: remuda.Resources{CPU: 1, MemoryMB: 64, DiskMB: 16, Pids: 8}, egress: full.Egress},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				eng := fake.New()
				eng.FailNarrow(c.refuse)
				var made Engine = eng
				if c.plain {
					made = unable{eng}
				}
				p := start(t, made, Settings{})
				p.SetGeneration(generation(1), full)
				synctest.Wait()
				c.claim.Runtime = "rt_a"
				l, err := p.Reserve(c.claim)
				if err != nil {
					t.Fatal(err)
				}
				inst, err := l.Start(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if l.Warm() == c.cold || (l.ColdReason() != "") != c.cold || !slices.Equal(l.Narrowed(), c.narrowed) {
					t.Errorf("warm %v, cold reason %q, narrowed %v; want cold %v, narrowed %v", l.Warm(), l.ColdReason(), l.Narrowed(), c.cold, c.narrowed)
				}
				fenced, ok := inst.(*fake.Instance)
				if !ok {
					fenced = inst.(unableInstance).Instance.(*fake.Instance)
				}
				limits, egress := fenced.Fence()
				if limits != c.limits || !cmp.Equal(egress, c.egress, cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty()) {
					t.Errorf("the fence is %+v, %+v; want %+v, %+v", limits, egress, c.limits, c.egress)
				}
				if err := l.Destroy(t.Context()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if got := p.Slots().InUse; got != 1 {
					t.Errorf("%d slots in use after the release, want the one of the warm replacement", got)
				}
			})
		})
	}
}

// unable is an engine whose instances cannot be narrowed.
type unable struct{ Engine }

type unableInstance struct{ engine.Instance }

func (u unable) Create(ctx context.Context, spec engine.Spec) (engine.Instance, error) {
	inst, err := u.Engine.Create(ctx, spec)
	if err != nil {
		return nil, err
	}
	return unableInstance{inst}, nil
}
