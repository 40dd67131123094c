package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/engine/keeper"
	"github.com/remuda-run/remuda/internal/remuda"
)

// TestUIDRanges has several allocators, as several servers would, take ranges of
// one machine at the same time.
func TestUIDRanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sub", "uids")
	var mu sync.Mutex
	taken := map[int]bool{}
	var held []*uidRange
	var wg sync.WaitGroup
	allocators := make([]*uidRanges, 4)
	for n := range allocators {
		u := newUIDRanges(path)
		u.next = 100 // all want the same
		allocators[n] = u
		wg.Go(func() {
			for range 50 {
				r, err := u.acquire()
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if taken[r.slot] {
					t.Errorf("slot %d was given twice", r.slot)
				}
				taken[r.slot] = true
				held = append(held, r)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	allocators[0].close()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file of ranges that are held was removed: %v", err)
	}
	for _, r := range held {
		if r.base() < uidBase || r.base()+uidCount > 1<<32-2 {
			t.Errorf("slot %d has base %d", r.slot, r.base())
		}
		r.close()
	}
	allocators[1].close()
	if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of ranges is left: %v", err)
	}
	r, err := allocators[2].acquire()
	if err != nil {
		t.Fatalf("after the file was removed: %v", err)
	}
	r.close()
}

func TestStartTime(t *testing.T) {
	t.Parallel()
	got, err := parseStartTime([]byte("12 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21"))
	if err != nil || got != 777 {
		t.Errorf("got %d, %v", got, err)
	}
	own, err := StartTime(os.Getpid())
	if err != nil || own == 0 {
		t.Errorf("own start time: %d, %v", own, err)
	}
}

func FuzzStartTime(f *testing.F) {
	f.Add([]byte("12 (a) S 1 2 3"))
	f.Add([]byte(")"))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseStartTime(b) })
}

// TestLongDataDir uses a directory whose sockets have no address of their own
// length.
func TestLongDataDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40), strings.Repeat("deep", 40))
	e := open(t, Options{DataDir: dir, Blanks: 1})
	inst, err := e.Create(t.Context(), engine.Spec{ID: remuda.NewInstanceID(), Language: remuda.LanguageBash, Resources: remuda.Resources{CPU: 1, MemoryMB: 64, DiskMB: 8, Pids: 16}})
	if err != nil {
		t.Fatal(err)
	}
	if err := inst.Destroy(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTooLittleForTheInterpreter(t *testing.T) {
	e := open(t, Options{Blanks: 1})
	for _, tt := range []struct {
		resources remuda.Resources
		field     string
	}{
		{remuda.Resources{CPU: 1, MemoryMB: 4, DiskMB: 2, Pids: 16}, "memory_mb"},
		{remuda.Resources{CPU: 1, MemoryMB: 64, DiskMB: 0, Pids: 16}, "disk_mb"},
		{remuda.Resources{CPU: 0, MemoryMB: 64, DiskMB: 8, Pids: 16}, "cpu"},
	} {
		_, err := e.Create(t.Context(), engine.Spec{ID: remuda.NewInstanceID(), Language: remuda.LanguageNode, Resources: tt.resources})
		own, ok := errors.AsType[*remuda.Error](err)
		if !ok || own.Code != remuda.CodeInvalid || !strings.Contains(fmt.Sprint(own.Remedy, own.Fields, own.Message), tt.field) {
			t.Errorf("%+v: %v", tt.resources, err)
		}
	}
}

// TestDiskPromises refuses a disk that the data directory could not hold.
func TestDiskPromises(t *testing.T) {
	t.Parallel()
	m := newDiskMaker(t.TempDir())
	err := m.reserve(&diskImage{maker: m, quota: diskQuota{bytes: 1 << 50}})
	if remuda.CodeOf(err) != remuda.CodeExhausted {
		t.Errorf("a disk of 1 PiB: %v", err)
	}
	if len(m.living) != 0 {
		t.Error("a refused disk counts as promised")
	}
}

func TestTemplate(t *testing.T) {
	t.Parallel()
	tmpl := &imageTemplate{size: 64 << 10}
	data := make([]byte, 40_000)
	copy(data[9000:], "here")
	copy(data[20_000:], "there")
	tmpl.add(8192, data)
	if n := len(tmpl.pieces); n != 2 {
		t.Errorf("%d pieces", n)
	}
	f, err := keeper.Unnamed(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := tmpl.write(f); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 64<<10)
	if _, err := f.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 64<<10)
	copy(want[8192:], data)
	if !bytes.Equal(got, want) {
		t.Error("a template's copy differs")
	}
}

// TestStockReplacesTheDead kills a blank in stock before it is used.
func TestStockReplacesTheDead(t *testing.T) {
	e := open(t, Options{Blanks: 1})
	deadline := time.Now().Add(time.Minute)
	for len(e.stock.ready) == 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	b := <-e.stock.ready
	if !b.alive() {
		t.Fatal("a new blank is dead")
	}
	if err := b.proc.Kill(); err != nil {
		t.Fatal(err)
	}
	for b.alive() && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	e.stock.ready <- b
	inst, err := e.Create(t.Context(), engine.Spec{ID: remuda.NewInstanceID(), Language: remuda.LanguageBash, Resources: remuda.Resources{CPU: 1, MemoryMB: 64, DiskMB: 8, Pids: 16}})
	if err != nil {
		t.Fatal(err)
	}
	if inst.(*Instance).blank == b || !inst.Alive() {
		t.Error("a dead blank was used")
	}
}

// TestLauncherDies kills the launcher; the next sandbox gets another.
func TestLauncherDies(t *testing.T) {
	e := open(t, Options{Blanks: -1})
	for range 2 {
		b, err := e.makeBlank(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := b.destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := unix.Kill(e.launcher.Pid(), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if b, err := e.makeBlank(t.Context()); err == nil { // notices
			t.Error("the dead launcher has started a sandbox")
			_ = b.destroy(t.Context())
		}
	}
}

// TestPreflight covers what Preflight says without an engine.
func TestPreflight(t *testing.T) {
	for _, f := range Preflight(t.Context(), Options{DataDir: t.TempDir(), Blanks: -1}) {
		if !f.OK {
			t.Errorf("%+v", f)
		}
	}
	f := Preflight(context.Background(), Options{})
	if len(f) != 1 || f[0].OK || f[0].Remedy == "" {
		t.Errorf("without a data directory: %+v", f)
	}
}
