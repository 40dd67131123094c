package soak

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/google/nftables"
)

// count is one line of a census: what there is, and by how much it may grow.
type count struct {
	what    string
	n       int
	bound   int
	judged  bool
	because string // why it is not judged, or what the bound is for
}

type census []count

// worse lists the lines of after that grew beyond their bounds.
func (before census) worse(after census) []string {
	var list []string
	for i, b := range before {
		if a := after[i]; b.judged && a.n > b.n+b.bound {
			list = append(list, fmt.Sprintf("%s grew from %d to %d, at most %d more are expected", b.what, b.n, a.n, b.bound))
		}
	}
	return list
}

// judge prints two censuses and fails on growth.
func judge(t *testing.T, when string, before, after census) {
	t.Helper()
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "what\tbefore\tafter\tmay grow by\t")
	for i, b := range before {
		bound := "not judged"
		if b.judged {
			bound = strconv.Itoa(b.bound)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\n", b.what, b.n, after[i].n, bound, b.because)
	}
	_ = w.Flush()
	t.Logf("%s:\n%s", when, text.String())
	for _, line := range before.worse(after) {
		t.Errorf("%s: %s", when, line)
	}
}

// eventual takes a census until nothing is worse, or for a minute: the kernel
// removes namespaces and cgroups behind the back of who asked.
func eventual(before census, take func() census, patient bool) census {
	wait := 30 * time.Second
	if patient {
		wait = 2 * time.Minute
	}
	after := take()
	for deadline := time.Now().Add(wait); len(before.worse(after)) > 0 && time.Now().Before(deadline); after = take() {
		time.Sleep(200 * time.Millisecond)
	}
	return after
}

func (h *herd) settled(before census) census {
	return eventual(before, h.census, h.alone)
}

// census counts what the server and its sandboxes hold, and then the machine's.
func (h *herd) census() census {
	pids := h.processes()
	namespaces, mounts := map[string]bool{}, map[string]int{}
	descriptors := 0
	for _, pid := range pids {
		dir := "/proc/" + strconv.Itoa(pid)
		links, _ := filepath.Glob(dir + "/ns/*")
		for _, link := range links {
			if target, err := os.Readlink(link); err == nil {
				namespaces[target] = true
			}
		}
		fds, _ := os.ReadDir(dir + "/fd")
		descriptors += len(fds)
		if ns, err := os.Readlink(dir + "/ns/mnt"); err == nil {
			mounts[ns] = h.mountsSeen(dir)
		}
	}
	own, _ := os.ReadDir("/proc/" + strconv.Itoa(h.s.Pid()) + "/fd")
	resident := residentKB(h.s.Pid()) / 1024
	sum := 0
	for _, n := range mounts {
		sum += n
	}
	if h.database == 0 {
		h.database, _ = h.databaseBytes()
	}
	list := census{
		{"processes of the server and its sandboxes", len(pids), 0, true, ""},
		{"mounts in all their mount namespaces", sum, 0, true, ""},
		{"cgroups of this server", len(h.cgroups()), 0, true, ""},
		{"namespaces that they are in", len(namespaces), 0, true, ""},
		{"descriptors of all of them", descriptors, 16, true, "idle connections of this test"},
		{"descriptors of the server", len(own), 16, true, "idle connections of this test"},
		{"MiB resident of the server", resident, 32, true, "what the collector has not given back"},
		{"files in the data directory", h.files(), 0, true, "the database's own aside"},
	}
	return append(list, h.scoped(machineCensus(h.t))...)
}

// scoped judges the machine's lines only where this test is alone on it.
func (h *herd) scoped(list census) census {
	for i := range list {
		if !h.alone {
			list[i].judged, list[i].because = false, "other tests run at the same time"
		}
	}
	return list
}

// machineCensus counts what belongs to the whole machine.
func machineCensus(t *testing.T) census {
	t.Helper()
	alone := os.Getenv("SOAK_COUNT") != ""
	because := ""
	if !alone {
		because = "other tests run at the same time"
	}
	inUse := map[string]bool{}
	links, _ := filepath.Glob("/proc/[0-9]*/ns/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil {
			inUse[target] = true
		}
	}
	devices, _ := os.ReadDir("/sys/class/net")
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	list := census{
		{"machine: mounts", lines("/proc/self/mountinfo", ""), 0, alone, because},
		{"machine: namespaces that a process is in", len(inUse), 0, alone, because},
		{"machine: network devices", len(devices), 0, alone, because},
		{"machine: nft tables", nftTables(t), 0, alone, because},
		{"machine: loop devices in use", len(loops), 0, alone, because},
	}
	for _, slab := range []struct {
		name  string
		bound int
	}{{"net_namespace", 64}, {"mnt_cache", 2000}} {
		if n, ok := slabObjects(slab.name); ok {
			note := because
			if alone {
				note = "the kernel's caches keep some"
			}
			list = append(list, count{"kernel objects: " + slab.name, n, slab.bound, alone, note})
		}
	}
	return list
}

func nftTables(t *testing.T) int {
	t.Helper()
	conn, err := nftables.New()
	if err != nil {
		t.Logf("nft tables cannot be counted: %v", err)
		return 0
	}
	tables, err := conn.ListTables()
	if err != nil {
		t.Logf("nft tables cannot be counted: %v", err)
	}
	return len(tables)
}

// slabObjects reads how many objects of a kind the kernel has.
func slabObjects(name string) (int, bool) {
	raw, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[0] == name {
			n, err := strconv.Atoi(fields[1])
			return n, err == nil
		}
	}
	return 0, false
}

// processes lists the server, what it has started, and everything in its cgroups.
func (h *herd) processes() []int {
	seen := map[int]bool{h.s.Pid(): true}
	parents := map[int]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		text := string(raw)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if parent, err := strconv.Atoi(fields[1]); err == nil {
			parents[pid] = parent
		}
	}
	for pid := range parents {
		for p := pid; p > 1; p = parents[p] {
			if seen[p] {
				seen[pid] = true
				break
			}
		}
	}
	for _, dir := range h.cgroups() {
		raw, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for field := range strings.FieldsSeq(string(raw)) {
			if pid, err := strconv.Atoi(field); err == nil {
				seen[pid] = true
			}
		}
	}
	list := make([]int, 0, len(seen))
	for pid := range seen {
		list = append(list, pid)
	}
	return list
}

// cgroups lists the cgroups that carry the name of this server's herd.
func (h *herd) cgroups() []string {
	name, err := os.ReadFile(filepath.Join(h.s.Data, "herd"))
	if err != nil {
		h.t.Fatal(err)
	}
	var found []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(path, "remuda-"+strings.TrimSpace(string(name))) {
			found = append(found, path)
		}
		return nil // what has just been removed is not there
	})
	return found
}

// mountsSeen counts the mounts of a process; in the machine's own namespace only
// those of this server.
func (h *herd) mountsSeen(proc string) int {
	own, _ := os.Readlink("/proc/self/ns/mnt")
	if theirs, _ := os.Readlink(proc + "/ns/mnt"); theirs == own {
		return lines(proc+"/mountinfo", h.s.Data)
	}
	return lines(proc+"/mountinfo", "")
}

// lines counts the lines of a file that hold a text.
func lines(file, text string) int {
	raw, _ := os.ReadFile(file)
	n := 0
	for line := range strings.Lines(string(raw)) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func residentKB(pid int) int {
	raw, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			return kb
		}
	}
	return 0
}

// files counts what lies in the data directory, the database's own files aside.
func (h *herd) files() int {
	n := 0
	_ = filepath.WalkDir(h.s.Data, func(path string, _ os.DirEntry, err error) error {
		if err == nil && !strings.HasPrefix(filepath.Base(path), "remuda.db") {
			n++
		}
		return nil
	})
	return n
}

// databaseBytes is the size of the database, and of its log, which is emptied
// now and then and used again.
func (h *herd) databaseBytes() (database, log int64) {
	size := func(name string) int64 {
		info, err := os.Stat(filepath.Join(h.s.Data, name))
		if err != nil {
			return 0
		}
		return info.Size()
	}
	return size("remuda.db"), size("remuda.db-wal")
}

// databaseGrowth prints what an execution adds to the database. It is kept on
// purpose: the record of what ran.
func (h *herd) databaseGrowth(executions int) {
	now, log := h.databaseBytes()
	h.t.Logf("the database grew by %d KiB, %d bytes for each execution, as it is meant to; its log is %d KiB",
		(now-h.database)/1024, (now-h.database)/int64(executions), log/1024)
}

// nothingLeft fails when anything of this server outlives it.
func (h *herd) nothingLeft() {
	left := func() (list []string) {
		list = append(list, h.cgroups()...)
		for _, dir := range []string{"run", "disk"} {
			entries, _ := os.ReadDir(filepath.Join(h.s.Data, dir))
			for _, e := range entries {
				list = append(list, filepath.Join(dir, e.Name()))
			}
		}
		if n := lines("/proc/self/mountinfo", h.s.Data); n > 0 {
			list = append(list, fmt.Sprintf("%d mounts", n))
		}
		return list
	}
	list := left()
	for deadline := time.Now().Add(30 * time.Second); len(list) > 0 && time.Now().Before(deadline); list = left() {
		time.Sleep(50 * time.Millisecond)
	}
	if len(list) > 0 {
		h.t.Errorf("the ended server has left: %s", strings.Join(list, ", "))
	}
}

// A census that cannot see growth would prove nothing.
func TestCensusSeesGrowth(t *testing.T) {
	t.Parallel()
	before := census{{"a", 5, 0, true, ""}, {"b", 5, 2, true, ""}, {"c", 5, 0, false, ""}}
	after := census{{"a", 6, 0, true, ""}, {"b", 7, 2, true, ""}, {"c", 9, 0, false, ""}}
	if worse := before.worse(after); len(worse) != 1 || !strings.HasPrefix(worse[0], "a grew from 5 to 6") {
		t.Errorf("growth of a beyond its bound, b within it and c unjudged gave %q", worse)
	}
	if worse := before.worse(before); len(worse) != 0 {
		t.Errorf("no growth gave %q", worse)
	}
	page := "remuda_instances{state=\"ready\"} 3\nremuda_instances_total{state=\"ready\"} 9\nremuda_slots_in_use 7\n"
	if metric(page, "remuda_instances", `state="ready"`) != 3 || metric(page, "remuda_slots_in_use", "") != 7 {
		t.Error("metrics are misread")
	}
}
