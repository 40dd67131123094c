package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var spareLimits = Limits{CPU: 1, Memory: 64 << 20, Pids: 20}

func testSpares(t *testing.T) (*Herd, *Spares) {
	t.Helper()
	herd := testHerd(t)
	if herd.Version() != 1 {
		t.Skip("with cgroup v2 no group is used again")
	}
	s := herd.NewSpares(4, func(err error) { t.Error(err) })
	t.Cleanup(s.Close)
	return herd, s
}

// taken is a group with limits.
func taken(t *testing.T, s *Spares, name string) *Group {
	t.Helper()
	g, err := s.Take(name)
	if err == nil {
		err = g.Limit(spareLimits)
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// inGroup runs a shell script in the group, to its end.
func inGroup(t *testing.T, g *Group, script string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "read go; "+script)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.Admit(cmd.Process.Pid); err != nil {
		t.Error(err)
	}
	_, err = stdin.Write([]byte("go\n"))
	return errors.Join(err, stdin.Close(), cmd.Wait())
}

// TestSparesCarryNothing uses a group up and looks for that in the hands of the next
// holder, whom the first one then tries to harm.
func TestSparesCarryNothing(t *testing.T) {
	t.Parallel()
	_, s := testSpares(t)
	var first, next *Group
	for n := 0; next == nil; n++ { // the kernel may take a while to let go of the memory
		if n == 100 {
			t.Fatal("no group was used again")
		}
		first = taken(t, s, fmt.Sprint("carry-", n))
		if err := first.Yield(true); err != nil {
			t.Fatal(err)
		}
		if err := inGroup(t, first, `x=$(head -c 8000000 /dev/zero | tr '\0' x); i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done`); err != nil {
			t.Fatal(err)
		}
		used, err := first.Usage()
		if err != nil || used.CPU < 5*time.Millisecond || used.PeakMemory < 8_000_000 {
			t.Fatalf("the first holder has used %+v, %v", used, err)
		}
		if err := errors.Join(first.Last(true), s.Put(t.Context(), first)); err != nil {
			t.Fatal(err)
		}
		g, err := s.Take(fmt.Sprint("other-", n))
		if err != nil {
			t.Fatal(err)
		}
		if g.Name() == first.Name() {
			next = g
		} else if err := g.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	usage, err := next.Usage()
	if err != nil || usage.CPU != 0 || usage.PeakMemory > residue || usage.OOMKills != 0 || usage.PidsMax != 0 {
		t.Errorf("the next holder begins with %+v, %v", usage, err)
	}
	if got := readNumber(t, next, next.backend.files().weight.file); got != 1024 {
		t.Errorf("it begins with weight %d", got)
	}
	if err := next.Limit(spareLimits); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if err := next.Admit(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	t.Run("the first holder", func(t *testing.T) { theFirstHolder(t, first, next) })
	select {
	case err := <-ended:
		t.Errorf("a process of the next holder has ended: %v", err)
	default:
	}
	if err := next.Clear(t.Context()); err != nil {
		t.Error(err)
	}
	<-ended
}

// theFirstHolder does everything with what it has of a group that is another's.
func theFirstHolder(t *testing.T, first, next *Group) {
	for name, do := range map[string]func() error{
		"limit":  func() error { return first.Limit(Limits{CPU: 0.1, Memory: 1 << 20, Pids: 1}) },
		"yield":  func() error { return first.Yield(true) },
		"share":  func() error { return first.Share(10) },
		"last":   func() error { return first.Last(true) },
		"admit":  func() error { return first.Admit(os.Getpid()) },
		"watch":  first.Watch,
		"usage":  func() error { _, err := first.Usage(); return err },
		"burned": func() error { _, err := first.CPU(); return err },
		"memory": func() error { _, err := first.Memory(); return err },
		"kills":  func() error { _, err := first.OOMKills(); return err },
		"events": func() error { _, err := first.OOMEvents(); return err },
	} {
		if err := do(); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if pids, err := first.Pids(); err != nil || len(pids) > 0 {
		t.Errorf("it sees %v, %v", pids, err)
	}
	if err := errors.Join(first.Kill(), first.Empty(t.Context()), first.Clear(t.Context()), first.Remove()); err != nil {
		t.Error(err)
	}
	pids, err := next.Pids()
	if err != nil || len(pids) != 1 {
		t.Errorf("in the next holder's group are %v, %v", pids, err)
	}
	has := map[string]int{"memory/memory.limit_in_bytes": 64 << 20, "pids/pids.max": 20, "cpu/cpu.cfs_quota_us": 100_000, "cpu/cpu.shares": 1024}
	if idle := next.backend.files().weight.idle; exists(next.backend.files().dir(next.path, idle)) { // since Linux 5.15
		has[idle] = 0
	}
	for file, want := range has {
		if got := readNumber(t, next, file); got != want {
			t.Errorf("%s is %d now", file, got)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func readNumber(t *testing.T, g *Group, file string) int {
	t.Helper()
	b, err := os.ReadFile(g.backend.files().dir(g.path, file))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSparesRefuse puts back groups that are not as they were, none of which may be
// handed out again or remain.
func TestSparesRefuse(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*testing.T, *Spares, *Group){
		"other limits": func(t *testing.T, _ *Spares, g *Group) {
			if err := errors.Join(g.Limit(Limits{CPU: 1, Memory: 32 << 20, Pids: 20}), g.Limit(spareLimits)); err != nil {
				t.Fatal(err)
			}
		},
		"processes refused": func(t *testing.T, _ *Spares, g *Group) {
			_ = inGroup(t, g, `i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done; wait`)
			if u, err := g.Usage(); err != nil || u.PidsMax == 0 {
				t.Fatalf("nothing was refused: %+v, %v", u, err)
			}
		},
		"killed for memory": func(t *testing.T, _ *Spares, g *Group) {
			_ = inGroup(t, g, `x=$(head -c 200000000 /dev/zero | tr '\0' x); echo ${#x}`)
			if u, err := g.Usage(); err != nil || u.OOMKills == 0 {
				t.Fatalf("nothing was killed: %+v, %v", u, err)
			}
		},
		"a process": func(t *testing.T, _ *Spares, g *Group) {
			cmd := exec.CommandContext(t.Context(), "/bin/sleep", "1000")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			t.Cleanup(func() { <-ended })
			if err := g.Admit(cmd.Process.Pid); err != nil {
				t.Fatal(err)
			}
		},
		"a process in one tree": func(t *testing.T, _ *Spares, g *Group) {
			cmd := exec.CommandContext(t.Context(), "/bin/sleep", "1000")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			t.Cleanup(func() { <-ended })
			dirs := g.backend.dirs(g.path)
			if err := put(filepath.Join(dirs[len(dirs)-1], "cgroup.procs"), strconv.Itoa(cmd.Process.Pid)); err != nil {
				t.Fatal(err)
			}
		},
		"half removed": func(t *testing.T, _ *Spares, g *Group) {
			dirs := g.backend.dirs(g.path)
			if err := unix.Rmdir(dirs[len(dirs)-1]); err != nil {
				t.Fatal(err)
			}
		},
		"closed": func(_ *testing.T, s *Spares, _ *Group) { s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			herd, s := testSpares(t)
			g := taken(t, s, "spoiled")
			spoil(t, s, g)
			if err := s.Put(context.WithoutCancel(t.Context()), g); err != nil {
				t.Error(err)
			}
			if names, err := herd.Names(); err != nil || len(names) > 0 {
				t.Errorf("left: %v, %v", names, err)
			}
		})
	}
}

// TestSparesGo looks that nobody's groups go with time, and no more wait than may.
func TestSparesGo(t *testing.T) {
	t.Parallel()
	herd, s := testSpares(t)
	var groups []*Group
	for n := range 2 * s.size {
		groups = append(groups, taken(t, s, fmt.Sprint("many-", n)))
	}
	for _, g := range groups {
		if err := s.Put(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := herd.Names(); err != nil || len(names) != s.size {
		t.Errorf("%d wait, %v", len(names), err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		names, err := herd.Names()
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("left: %v, %v", names, err)
		}
		if len(names) == 0 {
			return
		}
	}
}
