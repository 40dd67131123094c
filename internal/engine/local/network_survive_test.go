package local

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// TestEgressSurvives has sandboxes outlive their engine with a connection open to an
// address and one to where a name led. The next engine finds both open where they
// are still listed, cuts them before it hands out the instance where they are not, and
// leaves nothing.
func TestEgressSurvives(t *testing.T) {
	t.Run("started", func(t *testing.T) { egressSurvives(t, false) })
	t.Run("forked", func(t *testing.T) { egressSurvives(t, true) })
}

func egressSurvives(t *testing.T, forked bool) {
	port := newFarHost(t)
	settings := egress.DefaultSettings()
	settings.UpstreamDNS = []netip.AddrPort{netip.AddrPortFrom(farHost.Addr(), 53)}
	dir := filepath.Join(t.TempDir(), "data")
	open := func() *Engine {
		e, err := New(t.Context(), Options{DataDir: dir, Network: settings, Blanks: 1, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	address := remuda.Egress{CIDRs: []netip.Prefix{netip.PrefixFrom(farHost.Addr(), 32)}}
	name := remuda.Egress{Names: []string{"there.example"}}
	first := open()
	t.Cleanup(func() { _ = first.Close(context.Background()) }) // is closed already, unless the test failed
	if _, err := first.Recover(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	connect := fmt.Sprintf("import socket\nkept = socket.create_connection((%%q, %d), timeout=20)\nkept.settimeout(20)\n", port) + keptSays
	var keep []engine.Spec
	var wants []string
	for _, c := range []struct {
		was, becomes remuda.Egress
		to, want     string
	}{
		{address, address, farHost.Addr().String(), "kept b'again'\n"},
		{name, name, "there.example", "kept b'again'\n"},
		{address, name, farHost.Addr().String(), "kept is cut\n"},
		{name, remuda.Egress{Names: []string{"other.example"}}, "there.example", "kept is cut\n"},
		{name, remuda.Egress{}, "there.example", "kept is cut\n"},
	} {
		spec := engine.Spec{
			ID: remuda.NewInstanceID(), Language: remuda.LanguagePython, Environment: remuda.EnvironmentHost, Egress: c.was,
			Resources: remuda.Resources{CPU: 1, MemoryMB: 256, DiskMB: 16, Pids: 32}, Linger: time.Minute,
		}
		if forked {
			spec.Generation = remuda.GenerationKey{Runtime: "rt_survives", Number: 1}
			upTemplate(t, first, spec)
		}
		inst, err := first.Create(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if inst.(*Instance).blank.forked != forked {
			t.Fatalf("forked: %t, want %t", !forked, forked)
		}
		if got := says(t, inst, fmt.Sprintf(connect, c.to)); got != "kept b'again'\n" {
			t.Fatalf("before: %q", got)
		}
		if err := inst.(engine.Detacher).Detach(t.Context()); err != nil {
			t.Fatal(err)
		}
		spec.Egress = c.becomes
		keep, wants = append(keep, spec), append(wants, c.want)
	}
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	second := open()
	defer func() {
		if err := second.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if left := leftovers(second); len(left) > 0 {
			t.Errorf("left on the machine: %v", left)
		}
	}()
	for _, f := range second.Check(t.Context()) { // as a server does first
		if !f.OK && !f.Optional {
			t.Errorf("%+v", f)
		}
	}
	found, err := second.Recover(t.Context(), keep)
	if err != nil || len(found.Attached) != len(keep) {
		t.Fatalf("attached %d of %d, lost %v: %v", len(found.Attached), len(keep), found.Lost, err)
	}
	for i, spec := range keep {
		for _, inst := range found.Attached {
			if inst.ID() != spec.ID {
				continue
			}
			if err := inst.(engine.Resumer).Drop(t.Context()); err != nil { // the end of what ran last
				t.Fatal(err)
			}
			if got := says(t, inst, keptSays); got != wants[i] {
				t.Errorf("instance %d, which may reach %v: %q, want %q", i, spec.Egress, got, wants[i])
			}
			if err := inst.(engine.Narrower).SetEgress(t.Context(), address); err != nil {
				t.Error(err)
			}
			if got := says(t, inst, fmt.Sprintf(connect, farHost.Addr())); got != "kept b'again'\n" {
				t.Errorf("instance %d, when the address is listed: %q", i, got)
			}
			if err := inst.(engine.Narrower).SetEgress(t.Context(), remuda.Egress{}); err != nil {
				t.Error(err)
			}
			if got := says(t, inst, keptSays); got != "kept is cut\n" {
				t.Errorf("instance %d, when nothing is listed: %q", i, got)
			}
		}
	}
}
