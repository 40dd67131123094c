package runtimes_test

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runtimes"
	"github.com/remuda-run/remuda/internal/store"
)

// builds is a house whose server installs packages.
func builds(t tb, path string, i *installer) *house {
	t.Helper()
	h := buildWith(t, path, runtimes.Settings{Layers: i})
	h.inhabit(t)
	return h
}

// inhabit makes the two organizations, if they are not there.
func (h *house) inhabit(t tb) {
	t.Helper()
	err := h.store.Write(t.Context(), func(tx *store.Tx) error {
		return errors.Join(tx.InsertOrganization(t.Context(), remuda.Organization{ID: ours, Name: "ours", CreatedAt: time.Now()}),
			tx.InsertOrganization(t.Context(), remuda.Organization{ID: theirs, Name: "theirs", CreatedAt: time.Now()}))
	})
	if err != nil && remuda.CodeOf(err) != remuda.CodeConflict {
		t.Fatal(err)
	}
}

func database(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "remuda.db")
}

// settled waits until no build of a runtime goes on.
func (h *house) settled(t tb, ref string) remuda.Runtime {
	t.Helper()
	rt, err := h.WaitRuntime(t.Context(), deployer, ref, 2*time.Minute)
	if err != nil || rt.Build.Status == remuda.RuntimeBusy {
		t.Fatalf("waiting for %s: %+v, %v", ref, rt.Build, err)
	}
	return rt
}

func (h *house) update(t tb, ref string, patch remuda.RuntimePatch) remuda.Runtime {
	t.Helper()
	rt, err := h.UpdateRuntime(t.Context(), deployer, ref, patch)
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

// serves returns the definition and the layers of an instance that is leased now.
func (h *house) serves(t *testing.T, rt remuda.Runtime) (generation int, memory int, layers []string) {
	t.Helper()
	l, err := h.pool.Reserve(pool.Claim{Runtime: rt.ID})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	inst, err := l.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	spec := inst.(*fake.Instance).Spec()
	for _, one := range spec.Layers {
		layers = append(layers, string(one.ID))
	}
	return l.Generation().Number, spec.Resources.MemoryMB, layers
}

func (h *house) log(t *testing.T, ref string, number int) string {
	t.Helper()
	var text strings.Builder
	for after := int64(0); ; {
		page, _, err := h.BuildLog(t.Context(), deployer, ref, number, after, 0, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Records {
			if r.Seq != after+1 {
				t.Errorf("record %d after %d", r.Seq, after)
			}
			after = r.Seq
			text.Write(r.Data)
		}
		if page.Ended {
			return text.String()
		}
	}
}

func TestBuildBecomesReady(t *testing.T) {
	t.Parallel()
	i := newInstaller()
	h := builds(t, database(t), i)
	rt := h.create(t, asks("r", "slow-a", "Ok_B"))
	if rt.Build.Status != remuda.RuntimeBusy || rt.Serving != 0 || rt.Generation != 1 {
		t.Errorf("created: %+v", rt.Build)
	}
	i.wantBegun(t, "slow-a")
	_, err := h.Usable(deployer, "r")
	e, ok := errors.AsType[*remuda.Error](err)
	if !ok || e.Code != remuda.CodeUnavailable || e.Remedy == "" || e.RetryAfterSeconds == 0 {
		t.Errorf("use of what is not ready: %v", err)
	}
	i.goOn()
	rt = h.settled(t, "r")
	if rt.Build.Status != remuda.RuntimeReady || rt.Serving != 1 || rt.Build.Layer == "" || len(rt.Build.Lock.Packages) != 2 || rt.Build.EndedAt.IsZero() {
		t.Errorf("built: %+v", rt.Build)
	}
	for _, p := range rt.Build.Packages {
		if p.State != remuda.PackageInstalled || p.Resolved != "1.0" || p.Manager != remuda.ManagerPip {
			t.Errorf("package %+v", p)
		}
	}
	if _, _, layers := h.serves(t, rt); len(layers) != 1 || layers[0] != string(rt.Build.Layer) {
		t.Errorf("layers of an instance: %q, want %q", layers, rt.Build.Layer)
	}
	text := h.log(t, "r", 1)
	for _, want := range []string{"python 2.0.1", "collecting slow-a\n", "collecting Ok_B\n", "generation 1 is ready"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %q:\n%s", want, text)
		}
	}
	log := h.audit(t, ours)
	if len(log) != 2 || log[0].Details["change"] != "build" || log[0].Details["status"] != "ready" || log[1].Details["status"] != "busy" {
		t.Errorf("audit log: %+v", log)
	}
	// An equal one asks for nothing, and nobody else hears of it.
	other := asks("equal", "ok_b", "slow-a")
	other.Packages[0].Version = "latest"
	if got := h.create(t, other); got.Build.Status != remuda.RuntimeReady || got.Serving != 1 || got.Build.Layer != rt.Build.Layer {
		t.Errorf("an equal runtime: %+v", got.Build)
	}
	if got, err := h.CreateRuntime(t.Context(), principal(theirs, remuda.RoleDeployer), other); err != nil || got.Build.Status != remuda.RuntimeBusy {
		t.Errorf("an equal runtime of another organization: %+v, %v", got.Build, err)
	}
}

func TestFailedBuildLeavesTheLastOneServing(t *testing.T) {
	t.Parallel()
	i := newInstaller()
	h := builds(t, database(t), i)
	h.create(t, asks("r", "ok-a"))
	first := h.settled(t, "r")
	h.update(t, "r", remuda.RuntimePatch{Packages: packagesOf("ok-a", "bad-b", "ok-c")})
	rt := h.settled(t, "r")
	if rt.Build.Status != remuda.RuntimeError || !strings.Contains(rt.Build.Reason, "no index has bad-b") || !strings.Contains(rt.Build.Reason, "choose another") || rt.Serving != 1 || rt.Generation != 2 {
		t.Errorf("after a build that failed: serving %d, %+v", rt.Serving, rt.Build)
	}
	var states []string
	for _, p := range rt.Build.Packages {
		states = append(states, string(p.State)+" "+p.Message)
	}
	if states[1] != "not_installed nobody has it" || !strings.HasPrefix(states[0], "not_installed the build failed") || !strings.HasPrefix(states[2], "not_installed the build failed") {
		t.Errorf("packages: %q", states)
	}
	if n, _, layers := h.serves(t, rt); n != 1 || layers[0] != string(first.Build.Layer) {
		t.Errorf("generation %d serves with %q", n, layers)
	}
	// A change of policy holds at once, and the build is tried again.
	i.goOn()
	changed := h.update(t, "r", remuda.RuntimePatch{MemoryMB: new(77)})
	if changed.Serving != 3 || changed.Generation != 4 {
		t.Errorf("policy after a failure: serving %d of %d", changed.Serving, changed.Generation)
	}
	if n, memory, layers := h.serves(t, rt); n != 3 || memory != 77 || layers[0] != string(first.Build.Layer) {
		t.Errorf("generation %d with %d MiB and %q", n, memory, layers)
	}
	if got := h.settled(t, "r"); got.Build.Status != remuda.RuntimeError || got.Serving != 3 {
		t.Errorf("second failure: serving %d, %+v", got.Serving, got.Build)
	}
	// Without what fails it is well again.
	if got := h.update(t, "r", remuda.RuntimePatch{Packages: packagesOf("ok-a")}); got.Build.Status != remuda.RuntimeReady || got.Serving != got.Generation || got.Build.Reason != "" {
		t.Errorf("mended: %+v", got.Build)
	}
	if never := h.create(t, asks("never", "bad-b")); never.Build.Status != remuda.RuntimeBusy {
		t.Errorf("a runtime that cannot be built is created all the same: %+v", never.Build)
	}
	h.settled(t, "never")
	if _, err := h.Usable(deployer, "never"); remuda.CodeOf(err) != remuda.CodeUnavailable || !strings.Contains(err.Error(), "no index has bad-b") {
		t.Errorf("use of what never was ready: %v", err)
	}
	h.create(t, asks("panics", "die-a"))
	if got := h.settled(t, "panics"); got.Build.Status != remuda.RuntimeError || strings.Contains(got.Build.Reason, "scripted") {
		t.Errorf("an installer that panics: %+v", got.Build)
	}
}

// TestPolicyNeverWaitsForABuild tightens a runtime while its packages are installed.
func TestPolicyNeverWaitsForABuild(t *testing.T) {
	t.Parallel()
	i := newInstaller()
	h := builds(t, database(t), i)
	d := asks("r", "ok-a")
	d.Egress.CIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	h.create(t, d)
	rt := h.settled(t, "r")
	<-i.began
	held, err := h.pool.Reserve(pool.Claim{Runtime: rt.ID})
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	inst, err := held.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.update(t, "r", remuda.RuntimePatch{Packages: packagesOf("slow-b")})
	i.wantBegun(t, "slow-b")
	rt = h.update(t, "r", remuda.RuntimePatch{Egress: &remuda.Egress{}, MemoryMB: new(77)})
	if rt.Build.Status != remuda.RuntimeBusy || rt.Serving != 3 || rt.Generation != 4 {
		t.Fatalf("tightened while it is built: serving %d of %d, %s", rt.Serving, rt.Generation, rt.Build.Status)
	}
	if _, reach := inst.(*fake.Instance).Fence(); !reach.None() {
		t.Errorf("what is held still reaches %v", reach)
	}
	usable, err := h.Usable(deployer, "r")
	if err != nil || !usable.Egress.None() || usable.Resources.MemoryMB != 77 || usable.Packages[0].Name != "ok-a" {
		t.Errorf("usable: %+v, %v", usable.Definition, err)
	}
	// The build goes on for the newest generation, with what it had said.
	i.goOn()
	rt = h.settled(t, "r")
	if _, resolved, canceled := i.count(); rt.Serving != 4 || rt.Build.Status != remuda.RuntimeReady || resolved != 2 || canceled != 0 {
		t.Errorf("built: serving %d, %+v; resolved %d times, canceled %d", rt.Serving, rt.Build, resolved, canceled)
	}
	if text := h.log(t, "r", 4); !strings.Contains(text, "generation 2: python") || !strings.Contains(text, "collecting slow-b") || !strings.Contains(text, "generation 4 is ready") {
		t.Errorf("the log of a build that went on:\n%s", text)
	}
	old, err := h.GetBuild(t.Context(), deployer, "r", 2)
	if err != nil || old.Status != remuda.RuntimeError || !strings.Contains(old.Reason, "replaced by generation 4") {
		t.Errorf("the build that was replaced: %+v, %v", old, err)
	}
	all, _, err := h.ListBuilds(t.Context(), deployer, "r", remuda.Page{})
	if err != nil || len(all) != 4 || all[1].Status != remuda.RuntimeReady || all[1].Key.Number != 3 {
		t.Errorf("builds: %+v, %v", all, err)
	}
}

func TestReplacedBuildIsGivenUp(t *testing.T) {
	t.Parallel()
	i := newInstaller()
	h := builds(t, database(t), i)
	h.create(t, asks("r", "slow-a"))
	i.wantBegun(t, "slow-a")
	rt := h.update(t, "r", remuda.RuntimePatch{Packages: packagesOf("ok-b")})
	if rt.Generation != 2 {
		t.Errorf("generation %d", rt.Generation)
	}
	if rt = h.settled(t, "r"); rt.Serving != 2 || rt.Build.Packages[0].Name != "ok-b" {
		t.Errorf("serving %d, %+v", rt.Serving, rt.Build)
	}
	h.update(t, "r", remuda.RuntimePatch{Packages: packagesOf("slow-c")})
	if rt = h.update(t, "r", remuda.RuntimePatch{Packages: packagesOf()}); rt.Serving != 4 || rt.Build.Layer != "" || rt.Build.Status != remuda.RuntimeReady {
		t.Errorf("without packages: serving %d, %+v", rt.Serving, rt.Build)
	}
	h.update(t, "r", remuda.RuntimePatch{Packages: packagesOf("slow-d")})
	if err := h.DeleteRuntime(t.Context(), deployer, "r", remuda.Deletion{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.BuildLog(t.Context(), deployer, "r", 1, 0, 0, 0); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Errorf("log of a deleted runtime: %v", err)
	}
}

// lateStore is a store whose next write begins late, if somebody waits for one.
type lateStore struct {
	*store.Store
	late chan struct{} // hears of the one that does
}

func (s lateStore) Write(ctx context.Context, fn func(*store.Tx) error) error {
	select {
	case s.late <- struct{}{}:
		time.Sleep(time.Second) // the other write comes meanwhile
	default:
	}
	return s.Store.Write(ctx, fn)
}

// TestReplacedBuildThatIsBeingStored replaces a build in the moment in which what it
// says goes to the store: neither may wait for the other.
func TestReplacedBuildThatIsBeingStored(t *testing.T) {
	t.Parallel()
	i, late := newInstaller(), make(chan struct{})
	h := buildOn(t, database(t), runtimes.Settings{Layers: i}, true, func(st *store.Store) runtimes.Store { return lateStore{st, late} })
	h.inhabit(t)
	h.create(t, asks("r", "slow-a"))
	<-late // the first piece of its log
	h.update(t, "r", remuda.RuntimePatch{Packages: packagesOf("ok-b")})
	if rt := h.settled(t, "r"); rt.Serving != 2 || rt.Build.Packages[0].Name != "ok-b" {
		t.Errorf("serving %d, %+v", rt.Serving, rt.Build)
	}
	old, err := h.GetBuild(t.Context(), deployer, "r", 1)
	if err != nil || old.Status != remuda.RuntimeError || !strings.Contains(old.Reason, "replaced by generation 2") {
		t.Errorf("the build that was replaced: %+v, %v", old, err)
	}
}

// TestNobodyHasAllPlaces fills the builder with one organization's builds.
func TestNobodyHasAllPlaces(t *testing.T) {
	t.Parallel()
	i := newInstaller()
	h := builds(t, database(t), i)
	for _, name := range []string{"a", "b", "c", "d"} {
		h.create(t, asks(name, "slow-"+name))
	}
	for range 2 { // in whatever order they say so
		if name := <-i.began; name != "slow-a" && name != "slow-b" {
			t.Errorf("%s began", name)
		}
	}
	if _, err := h.CreateRuntime(t.Context(), principal(theirs, remuda.RoleDeployer), asks("x", "slow-x")); err != nil {
		t.Fatal(err)
	}
	i.wantBegun(t, "slow-x") // neither c nor d
	i.goOn()
	for _, name := range []string{"a", "b", "c", "d"} {
		if rt := h.settled(t, name); rt.Build.Status != remuda.RuntimeReady {
			t.Errorf("%s: %+v", name, rt.Build)
		}
	}
}

// TestLanguageOfPackages changes the language of runtimes with packages: those of
// apt stay what they are, the others are another language's.
func TestLanguageOfPackages(t *testing.T) {
	t.Parallel()
	i := newInstaller()
	h := builds(t, database(t), i)
	d := asks("r", "ok-tool")
	d.Language = remuda.LanguageBash
	h.create(t, d)
	h.settled(t, "r")
	h.update(t, "r", remuda.RuntimePatch{Language: new(remuda.LanguagePython)})
	rt := h.settled(t, "r")
	if len(rt.Packages) != 1 || rt.Packages[0].Manager != remuda.ManagerApt || rt.Build.Packages[0].Manager != remuda.ManagerApt {
		t.Errorf("of bash: %+v", rt.Packages)
	}
	h.update(t, "r", remuda.RuntimePatch{Packages: packagesOf("ok-module")})
	h.settled(t, "r")
	if rt = h.update(t, "r", remuda.RuntimePatch{Language: new(remuda.LanguageNode)}); len(rt.Packages) != 0 || rt.Build.Status != remuda.RuntimeReady || rt.Build.Layer != "" {
		t.Errorf("of python: %+v, %+v", rt.Packages, rt.Build)
	}
}

func TestRebuild(t *testing.T) {
	t.Parallel()
	i := newInstaller()
	h := builds(t, database(t), i)
	h.create(t, asks("r", "ok-a"))
	first := h.settled(t, "r")
	i.mu.Lock()
	i.revision = 7
	i.mu.Unlock()
	again, err := h.RebuildRuntime(t.Context(), deployer, "r", false)
	if err != nil || again.Generation != 2 || again.Serving != 2 || again.Build.Layer != first.Build.Layer {
		t.Errorf("as it was: %+v, %v", again.Build, err)
	}
	if again, err = h.RebuildRuntime(t.Context(), deployer, "r", true); err != nil || again.Build.Status != remuda.RuntimeBusy || again.Serving != 2 {
		t.Errorf("refreshed: serving %d, %+v, %v", again.Serving, again.Build, err)
	}
	if again = h.settled(t, "r"); again.Build.Packages[0].Resolved != "1.7" || again.Build.Layer == first.Build.Layer || again.Serving != 3 {
		t.Errorf("refreshed: serving %d, %+v", again.Serving, again.Build)
	}
	// What was collected is installed again from its lock.
	i.mu.Lock()
	clear(i.layers)
	resolved := i.resolved
	i.mu.Unlock()
	if again, err = h.RebuildRuntime(t.Context(), deployer, "r", false); err != nil || again.Build.Status != remuda.RuntimeBusy {
		t.Errorf("without its layer: %+v, %v", again.Build, err)
	}
	if got := h.settled(t, "r"); got.Serving != 4 || got.Build.Packages[0].Resolved != "1.7" {
		t.Errorf("from its lock: serving %d, %+v", got.Serving, got.Build)
	}
	if _, after, _ := i.count(); after != resolved {
		t.Error("the index was asked for what a lock says")
	}
	h.create(t, asks("busy", "slow-a"))
	if _, err := h.RebuildRuntime(t.Context(), deployer, "busy", false); remuda.CodeOf(err) != remuda.CodeConflict {
		t.Errorf("rebuild while it is built: %v", err)
	}
	if _, err := h.RebuildRuntime(t.Context(), principal(ours, remuda.RoleOperator), "r", false); remuda.CodeOf(err) != remuda.CodeForbidden {
		t.Errorf("rebuild by an operator: %v", err)
	}
	plain, err := h.RebuildRuntime(t.Context(), remuda.Principal{User: "usr_s", Organization: ours, SiteAdmin: true, Scope: remuda.ScopeWrite}, "bash", false)
	if err != nil || plain.Generation != 2 || plain.Serving != 2 {
		t.Errorf("a runtime without packages: serving %d, %v", plain.Serving, err)
	}
}
