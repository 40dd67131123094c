package cgroup

import (
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

func TestParseField(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		content, key string
		want         int64
		fails        bool
	}{
		{content: "123\n", want: 123},
		{content: "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", key: "oom_kill", want: 3},
		{content: "low 0\nhigh 0\nmax 12\noom 1\noom_kill 2\noom_group_kill 1\n", key: "oom_kill", want: 2},
		{content: "usage_usec 5\nuser_usec 4\n", key: "usage_usec", want: 5},
		{content: "max 7", key: "max", want: 7},
		{content: "max\n", key: "max", fails: true},
		{content: "other 7\n", key: "max", fails: true},
		{content: "", fails: true},
		{content: "x\n", fails: true},
	} {
		got, err := parseField([]byte(tt.content), tt.key)
		if (err != nil) != tt.fails || got != tt.want {
			t.Errorf("%q of %q: %d, %v", tt.key, tt.content, got, err)
		}
	}
}

func FuzzParseField(f *testing.F) {
	f.Add([]byte("oom_kill 3\n"), "oom_kill")
	f.Fuzz(func(_ *testing.T, b []byte, key string) { _, _ = parseField(b, key) })
}

const hybrid = `22 18 0:20 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
23 22 0:21 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct
24 22 0:22 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
25 22 0:23 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
26 22 0:24 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
garbage
`

func TestParseMounts(t *testing.T) {
	t.Parallel()
	m, err := parseMounts(strings.NewReader(hybrid))
	if err != nil {
		t.Fatal(err)
	}
	if m.v2 != "/sys/fs/cgroup/unified" || m.v1["cpuacct"] != "/sys/fs/cgroup/cpu,cpuacct" || m.v1["memory"] != "/sys/fs/cgroup/memory" || m.v1["pids"] != "/sys/fs/cgroup/pids" {
		t.Errorf("got %+v", m)
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add(hybrid)
	f.Fuzz(func(_ *testing.T, s string) { _, _ = parseMounts(strings.NewReader(s)) })
}

// TestChoose looks at trees made for it.
func TestChoose(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(path, content string) {
		t.Helper()
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("full/cgroup.controllers", "cpuset cpu io memory pids\n")
	write("part/cgroup.controllers", "hugetlb\n")
	v1s := map[string]string{}
	for _, c := range []string{"memory", "cpu", "cpuacct", "pids"} {
		write("v1/"+c+"/cgroup.procs", "")
		v1s[c] = filepath.Join(dir, "v1", c)
	}
	elsewhere := map[string]string{"memory": "/a/memory", "cpu": "/b/cpu", "cpuacct": "/b/cpu", "pids": "/c/pids"}
	for _, tt := range []struct {
		name    string
		mounts  mounts
		version int
	}{
		{"v2", mounts{v2: filepath.Join(dir, "full")}, 2},
		{"v2 before v1", mounts{v2: filepath.Join(dir, "full"), v1: v1s}, 2},
		{"hybrid", mounts{v2: filepath.Join(dir, "part"), v1: v1s}, 1},
		{"v1", mounts{v1: v1s}, 1},
		{"nothing", mounts{}, 0},
		{"v2 without controllers", mounts{v2: filepath.Join(dir, "part")}, 0},
		{"v1 without names", mounts{v1: elsewhere}, 0},
	} {
		h, err := tt.mounts.choose()
		switch {
		case tt.version == 0 && err == nil:
			t.Errorf("%s: no error", tt.name)
		case tt.version != 0 && (err != nil || h.Version() != tt.version):
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestCPUQuota(t *testing.T) {
	t.Parallel()
	for cores, want := range map[float64]int64{1: 100_000, 0.5: 50_000, 4: 400_000, 0.001: 1000} {
		if period, quota := cpuQuota(cores); period != 100_000 || quota != want {
			t.Errorf("%g cores: %d of %d", cores, quota, period)
		}
	}
}

// testHerd is a herd of the test's own.
func testHerd(t *testing.T) *Herd {
	t.Helper()
	h, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	herd, err := h.Open("/", fmt.Sprintf("remuda-test-%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := herd.Remove(); err != nil {
			t.Error(err)
		}
	})
	return herd
}

// spinOnOneCore starts an endless loop in the group, on the first core that
// there is.
func spinOnOneCore(t *testing.T, g *Group) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "while :; do :; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = cmd.Wait() }() // killed with its group
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(cmd.Process.Pid, &all); err != nil {
		t.Fatal(err)
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if all.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := errors.Join(unix.SchedSetaffinity(cmd.Process.Pid, &one), g.Admit(cmd.Process.Pid)); err != nil {
		t.Fatal(err)
	}
}

// A group that yields must get less of a busy processor than one that does not.
func TestYield(t *testing.T) {
	t.Parallel()
	herd := testHerd(t)
	var spent [2]time.Duration
	for round := range 5 { // others use the machine too: one clear round is enough
		var groups [2]*Group
		for i := range groups {
			g, err := herd.Create(fmt.Sprintf("yield-%d-%d", round, i))
			if err != nil {
				t.Fatal(err)
			}
			groups[i] = g
			if err := g.Yield(i == 0); err != nil {
				t.Fatal(err)
			}
			spinOnOneCore(t, g)
		}
		time.Sleep(time.Second) // what is measured is the share of a time
		for i, g := range groups {
			u, err := g.Usage()
			if err != nil {
				t.Fatal(err)
			}
			spent[i] = u.CPU
			if err := errors.Join(g.Empty(t.Context()), g.Remove()); err != nil {
				t.Fatal(err)
			}
		}
		if spent[1] > 0 && 2*spent[0] < spent[1] {
			return
		}
	}
	t.Errorf("the group that yields used %v, the other one %v", spent[0], spent[1])
}

// A group that comes last must get next to nothing of a processor that another wants,
// all of one that nobody does, and be a normal one afterwards; while it comes last it
// still takes a share.
func TestLast(t *testing.T) {
	t.Parallel()
	herd := testHerd(t)
	var last, other time.Duration
	for round := range 5 { // others use the machine too: one clear round is enough
		var groups [2]*Group
		for i := range groups {
			g, err := herd.Create(fmt.Sprintf("last-%d-%d", round, i))
			if err != nil {
				t.Fatal(err)
			}
			groups[i] = g
			if err := g.Last(i == 0); err != nil {
				t.Fatal(err)
			}
			spinOnOneCore(t, g)
		}
		last, other = spentIn(t, groups, time.Second)
		if err := errors.Join(groups[0].Last(false), groups[0].Share(1)); err != nil {
			t.Fatal(err)
		}
		again, _ := spentIn(t, groups, time.Second)
		if err := errors.Join(groups[1].Empty(t.Context()), groups[1].Remove(), groups[0].Last(true)); err != nil {
			t.Fatal(err)
		}
		alone, _ := spentIn(t, [2]*Group{groups[0], groups[0]}, time.Second)
		if err := errors.Join(groups[0].Share(2), groups[0].Empty(t.Context()), groups[0].Remove()); err != nil {
			t.Fatal(err)
		}
		if other > 0 && 8*last < other && again > 4*last && alone > 4*last {
			return
		}
	}
	t.Errorf("the group that came last used %v, the other one %v", last, other)
}

// spentIn is what two groups use in a time.
func spentIn(t *testing.T, groups [2]*Group, during time.Duration) (first, second time.Duration) {
	t.Helper()
	var before, after [2]time.Duration
	for i, g := range groups {
		var err error
		if before[i], err = g.CPU(); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(during) // what is measured is the share of a time
	for i, g := range groups {
		var err error
		if after[i], err = g.CPU(); err != nil {
			t.Fatal(err)
		}
	}
	return after[0] - before[0], after[1] - before[1]
}

// The parts of a busy processor: of a group by how many share it, never as little as
// one that yields has, and of all groups together.
func TestShare(t *testing.T) {
	t.Parallel()
	herd := testHerd(t)
	g, err := herd.Create("share")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Remove() })
	table := g.backend.files()
	weight := func(path string) int {
		t.Helper()
		b, err := os.ReadFile(table.dir(path, table.weight.file))
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := weight(herd.Path()); got != table.weight.normal {
		t.Errorf("a new herd weighs %d", got)
	}
	for among, want := range map[int]int{0: table.weight.normal, 1: table.weight.normal, 4: table.weight.normal / 4, 10000: 2 * table.weight.yield} {
		if err := g.Share(among); err != nil {
			t.Fatal(err)
		}
		if got := weight(g.path); got != want {
			t.Errorf("one of %d weighs %d, want %d", among, got, want)
		}
	}
	for _, on := range []bool{true, false} {
		if err := herd.Yield(on); err != nil {
			t.Fatal(err)
		}
		if got := weight(herd.Path()); (got < table.weight.normal) != on {
			t.Errorf("a herd that yields (%v) weighs %d", on, got)
		}
	}
}
