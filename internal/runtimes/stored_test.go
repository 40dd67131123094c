package runtimes_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runtimes"
)

func reach(names []string, cidrs ...string) remuda.Egress {
	e := remuda.Egress{Names: names}
	for _, c := range cidrs {
		e.CIDRs = append(e.CIDRs, netip.MustParsePrefix(c))
	}
	return e
}

// A generation that does not serve any more is what it was, but for the network:
// that is what it has in common with all that came to serve after it.
func TestStored(t *testing.T) {
	t.Parallel()
	i := newInstaller()
	path := database(t)
	h := builds(t, path, i)
	d := asks("r", "ok-a")
	d.Egress = reach([]string{"a.example", "b.example"}, "10.0.0.0/8", "192.0.2.0/24")
	rt := h.create(t, d)
	h.settled(t, "r")
	defer h.hold(t, rt).Release() // its layer stays
	h.update(t, "r", remuda.RuntimePatch{Egress: new(reach([]string{"a.example"}, "10.1.0.0/16", "192.0.2.0/24"))})
	h.update(t, "r", remuda.RuntimePatch{Packages: packagesOf("bad-b"), Egress: new(remuda.Egress{})}) // 3 serves the old packages, 4 never
	h.settled(t, "r")
	h.update(t, "r", remuda.RuntimePatch{Packages: packagesOf("ok-c"), Egress: new(reach([]string{"a.example"}, "10.0.0.0/8"))})
	last := h.settled(t, "r")
	ps := &policies{all: map[remuda.OrganizationID]remuda.Policy{ours: {Network: remuda.EgressRules{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}}}
	h.end()

	h = buildWith(t, path, runtimes.Settings{Layers: i, Policies: ps})
	within := []remuda.EgressRules{ps.Policy(ours).Network}
	for number, want := range map[int]remuda.Egress{
		1:               {Within: within}, // 3 took it all
		2:               {Within: within},
		last.Generation: {Within: within, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Names: []string{"a.example"}},
	} {
		got, err := h.Stored(t.Context(), ours, remuda.GenerationKey{Runtime: rt.ID, Number: number})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Definition.Egress, cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("generation %d reaches (-want +got):\n%s", number, diff)
		}
		if layer := "ok-a"; number < last.Generation && (len(got.Layers) != 1 || !strings.Contains(string(got.Layers[0].ID), layer) || got.Definition.Version == "") {
			t.Errorf("generation %d has the layers %v and the version %q", number, got.Layers, got.Definition.Version)
		}
	}
	for name, key := range map[string]struct {
		org remuda.OrganizationID
		key remuda.GenerationKey
	}{
		"no such generation": {ours, remuda.GenerationKey{Runtime: rt.ID, Number: 99}},
		"no such runtime":    {ours, remuda.GenerationKey{Runtime: "rt_gone", Number: 1}},
		"others' runtime":    {theirs, remuda.GenerationKey{Runtime: rt.ID, Number: 1}},
	} {
		if _, err := h.Stored(t.Context(), key.org, key.key); remuda.CodeOf(err) != remuda.CodeNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A list that was shortened stays so, whatever came after; one that is global is for
// every organization, under its own rules.
func TestStoredStaysShort(t *testing.T) {
	t.Parallel()
	h := open(t)
	d := asks("r")
	d.Egress = reach(nil, "10.0.0.0/8")
	rt := h.create(t, d)
	for _, cidr := range []string{"10.1.0.0/16", "10.0.0.0/8"} {
		h.update(t, "r", remuda.RuntimePatch{Egress: new(reach(nil, cidr))})
	}
	for number, want := range map[int]string{1: "10.1.0.0/16", 2: "10.1.0.0/16", 3: "10.0.0.0/8"} {
		got, err := h.Stored(t.Context(), ours, remuda.GenerationKey{Runtime: rt.ID, Number: number})
		if err != nil || len(got.Definition.Egress.CIDRs) != 1 || got.Definition.Egress.CIDRs[0].String() != want {
			t.Errorf("generation %d: %+v, %v; want %s", number, got.Definition.Egress, err, want)
		}
	}
	global, err := h.GetRuntime(t.Context(), deployer, "bash")
	if err != nil {
		t.Fatal(err)
	}
	got, err := h.Stored(t.Context(), theirs, remuda.GenerationKey{Runtime: global.ID, Number: 1})
	if err != nil || got.Definition.Language != remuda.LanguageBash {
		t.Errorf("a global one: %+v, %v", got, err)
	}
}

// The layer of an instance that has outlived its server is not collected while it is
// held, and is once it is not; one that is gone is said to be.
func TestStoredLayers(t *testing.T) {
	t.Parallel()
	i := newInstaller()
	path := database(t)
	h := builds(t, path, i)
	rt := h.create(t, asks("r", "ok-a"))
	h.settled(t, "r")
	held := h.hold(t, rt)
	h.update(t, "r", remuda.RuntimePatch{Packages: packagesOf("ok-b")})
	h.settled(t, "r")
	h.end()
	defer held.Release()

	h = buildStopped(t, path, i)
	key := remuda.GenerationKey{Runtime: rt.ID, Number: 1}
	got, err := h.Stored(t.Context(), ours, key)
	if err != nil {
		t.Fatal(err)
	}
	claim := pool.Claim{Runtime: rt.ID, Organization: ours}
	inst, err := h.eng.Create(t.Context(), pool.Spec("ins_a", key, got.Definition, got.Layers, claim))
	if err != nil {
		t.Fatal(err)
	}
	lease, err := h.pool.Adopt(inst, key, got.Definition, got.Layers, claim)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{2, 1} {
		if err := h.Collect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if layers, _, _ := i.count(); layers != want {
			t.Errorf("%d layers, want %d", layers, want)
		}
		if err := lease.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Stored(t.Context(), ours, key); remuda.CodeOf(err) != remuda.CodeUnavailable || !strings.Contains(err.Error(), "packages of generation 1") {
		t.Errorf("its layer is gone: %v", err)
	}
}

// hold leases an instance, which an ending server leaves to its holder.
func (h *house) hold(t *testing.T, rt remuda.Runtime) *pool.Lease {
	t.Helper()
	l, err := h.pool.Reserve(pool.Claim{Runtime: rt.ID, Organization: ours})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}
