package runtimes_test

import (
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine/fake"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runtimes"
	"github.com/remuda-run/remuda/internal/store"
)

func TestCreateFillsInDefaults(t *testing.T) {
	t.Parallel()
	h := open(t)
	rt := h.create(t, remuda.Definition{Name: "r", Language: remuda.LanguagePython, Version: "2.0", Pool: remuda.PoolBounds{MinCached: 2}})
	want := remuda.Definition{
		Name: "r", Language: remuda.LanguagePython, Version: "2.0", Environment: "host",
		Resources: remuda.Resources{CPU: 1, MemoryMB: 512, DiskMB: 256, Pids: 128}, ExecTimeout: time.Minute,
		Pool: remuda.PoolBounds{MinCached: 2, MaxCached: 2},
	}
	if rt.Generation != 1 || rt.Serving != 1 || rt.Build.Version != "2.0.1" || rt.Build.Status != remuda.RuntimeReady || rt.Organization != ours || rt.Resources != want.Resources || rt.Version != want.Version ||
		rt.Environment != want.Environment || rt.ExecTimeout != want.ExecTimeout || rt.Pool != want.Pool {
		t.Errorf("created %+v, want %+v", rt, want)
	}
	stored, err := h.GetRuntime(t.Context(), principal(ours, remuda.RoleMonitor), string(rt.ID))
	if err != nil || stored.Name != "r" || !stored.CreatedAt.Equal(rt.CreatedAt) {
		t.Errorf("GetRuntime: %+v, %v", stored, err)
	}
	log := h.audit(t, ours)
	if len(log) != 1 || log[0].Object != string(rt.ID) || log[0].User != "usr_a" || log[0].Details["change"] != "create" || log[0].RequestID != "req-1" {
		t.Errorf("audit log: %+v", log)
	}
}

func TestEveryWrongFieldIsNamed(t *testing.T) {
	t.Parallel()
	h := open(t)
	_, err := h.CreateRuntime(t.Context(), deployer, remuda.Definition{
		Name: " a", Description: strings.Repeat("x", 5000), Language: "cobol", Environment: "moon",
		Resources:   remuda.Resources{CPU: 9, MemoryMB: 1, DiskMB: -1, Pids: 1},
		ExecTimeout: 25 * time.Hour, Pool: remuda.PoolBounds{MinCached: 3, MaxCached: 1},
		Env: map[string]string{"1A": "x", "LD_PRELOAD": "x", "PYTHONHOME": "x", "REMUDA_TOKEN": "x", "OK": "a\x00b"},
	})
	var e *remuda.Error
	if !errors.As(err, &e) || e.Code != remuda.CodeInvalid {
		t.Fatalf("got %v, want invalid", err)
	}
	var got []string
	for _, f := range e.Fields {
		got = append(got, f.Field)
	}
	want := []string{
		"name", "description", "language", "environment", "resources.cpu", "resources.memory_mb", "resources.disk_mb", "resources.pids",
		"exec_timeout_s", "pool.max_cached", `env."1A"`, "env.LD_PRELOAD", "env.OK", "env.PYTHONHOME", "env.REMUDA_TOKEN",
	}
	if !slices.Equal(got, want) {
		t.Errorf("wrong fields\n got %q\nwant %q", got, want)
	}
	if len(h.audit(t, ours)) != 0 {
		t.Error("a refused request left an audit entry of a change")
	}
}

func TestFieldMessages(t *testing.T) {
	t.Parallel()
	h := open(t)
	ok := remuda.Definition{Name: "r", Language: remuda.LanguageNode}
	for _, c := range []struct {
		name   string
		change func(*remuda.Definition)
		field  string
		says   string
	}{
		{"unknown version names the known ones", func(d *remuda.Definition) { d.Version = "3.0" }, "version", "2.0.1, 1.9.0"},
		{"a version is no mere prefix", func(d *remuda.Definition) { d.Version = "2.0.1.1" }, "version", "not found"},
		{"part of a number is no version", func(d *remuda.Definition) { d.Version = "1.9.0.0" }, "version", "not found"},
		{"cpu below", func(d *remuda.Definition) { d.Resources.CPU = 0.001 }, "resources.cpu", "0.01 and 8 cores"},
		{"memory above", func(d *remuda.Definition) { d.Resources.MemoryMB = 9000 }, "resources.memory_mb", "16 and 8192"},
		{"time below", func(d *remuda.Definition) { d.ExecTimeout = time.Millisecond }, "exec_timeout_s", "1 and 86400"},
		{"negative pool", func(d *remuda.Definition) { d.Pool = remuda.PoolBounds{MinCached: -1, MaxCached: 1} }, "pool.min_cached", "0 and 256"},
		{"a name like an id", func(d *remuda.Definition) { d.Name = string(remuda.NewRuntimeID()) }, "name", "form of a runtime id"},
		{"dots", func(d *remuda.Definition) { d.Name = ".." }, "name", "dots only"},
		{"modules of another language", func(d *remuda.Definition) { d.Preload = []string{"json"} }, "preload", "python only"},
		{"a module that is none", func(d *remuda.Definition) { d.Language, d.Preload = "python", []string{"json", "os; import x"} }, "preload[1]", "xml.dom"},
		{"a module twice", func(d *remuda.Definition) { d.Language, d.Preload = "python", []string{"a.b", "a.b"} }, "preload[1]", "before"},
		{"too many modules", func(d *remuda.Definition) { d.Language, d.Preload = "python", make([]string, 65) }, "preload", "at most 64"},
		{"no class of isolation", func(d *remuda.Definition) { d.Isolation = "vm" }, "isolation", "process, gvisor"},
		{"egress without a form", func(d *remuda.Definition) { d.Egress.Names = []string{"A.example"} }, "egress.names[0]", "lower case"},
		{"egress to the machine", func(d *remuda.Definition) { d.Egress.CIDRs = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }, "egress.cidrs[0]", "never reached"},
		{"too long", func(d *remuda.Definition) { d.Name = strings.Repeat("a", 251) }, "name", "1 to 250"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := ok.Clone()
			c.change(&d)
			_, err := h.CreateRuntime(t.Context(), deployer, d)
			var e *remuda.Error
			if !errors.As(err, &e) || len(e.Fields) != 1 || e.Fields[0].Field != c.field || !strings.Contains(e.Fields[0].Message, c.says) {
				t.Errorf("got %+v, want field %s to say %q", err, c.field, c.says)
			}
		})
	}
}

func TestNamesAndOrganizations(t *testing.T) {
	t.Parallel()
	h := open(t)
	global, err := h.GetRuntime(t.Context(), deployer, "python")
	if err != nil || global.Organization != remuda.GlobalOrganization {
		t.Fatalf("built-in python: %+v, %v", global, err)
	}
	own := h.create(t, remuda.Definition{Name: "python", Language: remuda.LanguageBash})
	if got, err := h.GetRuntime(t.Context(), deployer, "python"); err != nil || got.ID != own.ID {
		t.Errorf("the own runtime does not come first: %+v, %v", got, err)
	}
	stranger := principal(theirs, remuda.RoleAdministrator)
	if got, err := h.GetRuntime(t.Context(), stranger, "python"); err != nil || got.ID != global.ID {
		t.Errorf("another organization's python: %+v, %v", got, err)
	}
	if _, err := h.GetRuntime(t.Context(), stranger, string(own.ID)); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Errorf("a foreign id: %v, want not_found", err)
	}
	memory := 32
	if _, err := h.UpdateRuntime(t.Context(), stranger, string(own.ID), remuda.RuntimePatch{MemoryMB: &memory}); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Errorf("change of a foreign runtime: %v, want not_found", err)
	}
	if err := h.DeleteRuntime(t.Context(), stranger, string(own.ID), remuda.Deletion{}); remuda.CodeOf(err) != remuda.CodeNotFound {
		t.Errorf("delete of a foreign runtime: %v, want not_found", err)
	}
	if err := h.DeleteRuntime(t.Context(), stranger, string(global.ID), remuda.Deletion{}); remuda.CodeOf(err) != remuda.CodeForbidden {
		t.Errorf("delete of a global runtime: %v, want forbidden", err)
	}
	if _, err := h.CreateRuntime(t.Context(), principal(ours, remuda.RoleOperator), remuda.Definition{Name: "x", Language: "bash"}); remuda.CodeOf(err) != remuda.CodeForbidden {
		t.Errorf("create by an operator: %v, want forbidden", err)
	}
	if _, err := h.CreateRuntime(t.Context(), deployer, remuda.Definition{Name: "python", Language: "bash"}); remuda.CodeOf(err) != remuda.CodeConflict {
		t.Errorf("a second runtime of the name: %v, want conflict", err)
	}
	admin := deployer
	admin.SiteAdmin = true
	if got, err := h.UpdateRuntime(t.Context(), admin, string(global.ID), remuda.RuntimePatch{MemoryMB: &memory}); err != nil || got.Generation != 2 {
		t.Errorf("change of a global runtime by a site administrator: %+v, %v", got, err)
	}
	list, _, err := h.ListRuntimes(t.Context(), deployer, "", remuda.Page{})
	if err != nil || len(list) != 4 { // three built in and the own one
		t.Errorf("list: %d runtimes, %v; want 4", len(list), err)
	}
}

func TestUpdateMakesGenerations(t *testing.T) {
	t.Parallel()
	h := open(t)
	rt := h.create(t, remuda.Definition{Name: "r", Language: remuda.LanguagePython, Version: "1.9.0"})
	text, memory, language := "new text", 64, remuda.LanguageNode
	for _, c := range []struct {
		name       string
		patch      remuda.RuntimePatch
		generation int
		entries    int // of the audit log, the creation included
	}{
		{"nothing", remuda.RuntimePatch{}, 1, 1},
		{"description", remuda.RuntimePatch{Description: &text}, 1, 2},
		{"memory", remuda.RuntimePatch{MemoryMB: &memory}, 2, 3},
		{"the same memory", remuda.RuntimePatch{MemoryMB: &memory}, 2, 3},
		{"an empty environment", remuda.RuntimePatch{Env: map[string]string{}}, 2, 3},
		{"a variable", remuda.RuntimePatch{Env: map[string]string{"A": "1"}}, 3, 4},
		{"preload", remuda.RuntimePatch{Preload: &[]string{"json"}}, 4, 5},
		{"the same preload", remuda.RuntimePatch{Preload: &[]string{"json"}}, 4, 5},
		{"egress", remuda.RuntimePatch{Egress: &remuda.Egress{Names: []string{"a.example"}}}, 5, 6},
		{"no egress, no preload", remuda.RuntimePatch{Egress: &remuda.Egress{}, Preload: &[]string{}}, 6, 7},
		{"nothing still", remuda.RuntimePatch{Egress: &remuda.Egress{Names: []string{}}, Preload: &[]string{}}, 6, 7},
		{"isolation", remuda.RuntimePatch{Isolation: new(remuda.IsolationGVisor)}, 7, 8},
		{"modules for the next", remuda.RuntimePatch{Preload: &[]string{"json"}}, 8, 9},
		{"language, which has no modules", remuda.RuntimePatch{Language: &language}, 9, 10},
	} {
		got, err := h.UpdateRuntime(t.Context(), deployer, "r", c.patch)
		if err != nil || got.Generation != c.generation {
			t.Fatalf("%s: generation %d, %v; want %d", c.name, got.Generation, err, c.generation)
		}
		if n := len(h.audit(t, ours)); n != c.entries {
			t.Errorf("%s: %d audit entries, want %d", c.name, n, c.entries)
		}
	}
	got, err := h.GetRuntime(t.Context(), deployer, string(rt.ID))
	if err != nil || got.Version != "" || got.Env["A"] != "1" || got.Description != text {
		t.Errorf("after all changes: %+v, %v", got, err)
	}
	// Every generation can be looked up, with what it was made from.
	err = h.store.Read(t.Context(), func(tx *store.Tx) error {
		first, err := tx.Generation(t.Context(), ours, remuda.GenerationKey{Runtime: rt.ID, Number: 1})
		if err == nil && first.Resources.MemoryMB != 512 {
			t.Errorf("generation 1 has %d MiB, want 512", first.Resources.MemoryMB)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	low := 5
	if _, err := h.UpdateRuntime(t.Context(), deployer, "r", remuda.RuntimePatch{MinCached: &low}); remuda.CodeOf(err) != remuda.CodeInvalid {
		t.Errorf("minimum above the maximum: %v, want invalid", err)
	}
}

// TestAcknowledgedChangeTakesEffect leases without pause while the runtime
// changes: a lease that begins after an answer must be of that generation.
func TestAcknowledgedChangeTakesEffect(t *testing.T) {
	t.Parallel()
	h := open(t)
	rt := h.create(t, remuda.Definition{Name: "r", Language: remuda.LanguagePython, Pool: remuda.PoolBounds{MinCached: 4, MaxCached: 8}})
	var acknowledged atomic.Int64
	acknowledged.Store(1)
	stop := make(chan struct{})
	var holders sync.WaitGroup
	var leases atomic.Int64
	for range 8 {
		holders.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				least := acknowledged.Load()
				l, err := h.pool.Reserve(pool.Claim{Runtime: rt.ID})
				if err != nil {
					t.Errorf("Reserve: %v", err)
					return
				}
				inst, err := l.Start(t.Context())
				if err != nil {
					t.Errorf("Start: %v", err)
					return
				}
				if g := l.Generation().Number; int64(g) < least {
					t.Errorf("generation %d after %d was acknowledged", g, least)
				}
				if spec := inst.(*fake.Instance).Spec(); spec.Generation != l.Generation() {
					t.Errorf("the instance is of %v, the lease of %v", spec.Generation, l.Generation())
				}
				leases.Add(1)
				l.Release()
			}
		})
	}
	for n := 2; n <= 15; n++ {
		memory := 64 + n
		got, err := h.UpdateRuntime(t.Context(), deployer, "r", remuda.RuntimePatch{MemoryMB: &memory})
		if err != nil || got.Generation != n {
			t.Errorf("UpdateRuntime: generation %d, %v; want %d", got.Generation, err, n)
		}
		acknowledged.Store(int64(n))
		for before, deadline := leases.Load(), time.Now().Add(time.Minute); leases.Load() < before+2; time.Sleep(100 * time.Microsecond) {
			if time.Now().After(deadline) {
				t.Fatal("nothing is leased")
			}
		}
	}
	close(stop)
	holders.Wait()
	if leases.Load() < 15 {
		t.Errorf("only %d leases were tried", leases.Load())
	}
}

func TestRestartKnowsEverything(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "remuda.db")
	var id remuda.RuntimeID
	t.Run("first", func(t *testing.T) {
		h := build(t, path)
		admin := deployer
		admin.SiteAdmin = true
		memory := 128
		rt, err := h.UpdateRuntime(t.Context(), admin, "bash", remuda.RuntimePatch{MemoryMB: &memory})
		if err != nil {
			t.Fatal(err)
		}
		id = rt.ID
	})
	t.Run("second", func(t *testing.T) {
		h := build(t, path)
		rt, err := h.GetRuntime(t.Context(), deployer, "bash")
		if err != nil || rt.ID != id || rt.Generation != 2 || rt.Resources.MemoryMB != 128 {
			t.Errorf("bash after a restart: %+v, %v", rt, err)
		}
		l, err := h.pool.Reserve(pool.Claim{Runtime: id})
		if err != nil {
			t.Fatal(err)
		}
		if l.Generation().Number != 2 {
			t.Errorf("the pool hands out generation %d, want 2", l.Generation().Number)
		}
		l.Release()
	})
}

func TestVersions(t *testing.T) {
	t.Parallel()
	h := open(t)
	got, err := h.RuntimeVersions(t.Context(), principal(ours, remuda.RoleMonitor), remuda.LanguageBash)
	if err != nil || len(got) != 2 || got[0].Version != "2.0.1" {
		t.Errorf("versions of bash: %v, %v", got, err)
	}
	if _, err := h.RuntimeVersions(t.Context(), deployer, "cobol"); remuda.CodeOf(err) != remuda.CodeInvalid {
		t.Errorf("versions of cobol: %v, want invalid", err)
	}
}

func FuzzCheckEnv(f *testing.F) {
	f.Add("A", "1")
	f.Add("LD_PRELOAD", "x")
	f.Add("1\xff", "\x00")
	f.Fuzz(func(t *testing.T, name, value string) {
		wrong := runtimes.CheckEnv("env", map[string]string{name: value})
		if len(wrong) > 0 {
			return
		}
		if name == "" || strings.ContainsAny(name, "=\x00 ") || strings.HasPrefix(name, "LD_") || strings.HasPrefix(name, "REMUDA_") || strings.ContainsRune(value, 0) {
			t.Errorf("%q=%q passed", name, value)
		}
	})
}
