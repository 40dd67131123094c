package attempts

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// table collects what was seen.
type table struct {
	mu      sync.Mutex
	results []result
}

type result struct {
	id, attempt   string
	place         place
	seen, verdict string
}

// try makes one attempt in one place and notes what came of it.
func (tb *table) try(t *testing.T, h *house, r row, p place) {
	c := &cell{T: t, house: h, row: r, place: p}
	begin := time.Now()
	defer func() { // also after FailNow and SkipNow
		if c.seen == "" && c.Failed() {
			c.seen = "the attempt failed, see the log"
		}
		tb.mu.Lock()
		defer tb.mu.Unlock()
		tb.results = append(tb.results, result{id: r.id, attempt: r.attempt, place: p, seen: c.seen, verdict: c.verdict()})
		if *full { // it takes long: whoever waits sees how far it is
			fmt.Fprintf(os.Stderr, "%s %s, %s: %s (%d s)\n", r.id, r.attempt, p, c.verdict(), int(time.Since(begin).Seconds()))
		}
	}()
	if why := h.refusal(p.class); why != "" {
		c.cannot("%s", why)
	}
	if !sampled(r, p) {
		c.cannot("the short form tries this row elsewhere; make attempts tries it everywhere")
	}
	r.try(c)
}

// sampled reports whether a row is tried in a place. The full form tries all; the
// short one tries every row on a warm instance, and of the cold ones, the
// runspaces and the second class of isolation a part that differs from row to row.
func sampled(r row, p place) bool {
	if *full || len(r.places) < 2 || p == (place{process, warm}) {
		return true
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(r.id + r.attempt))
	n := h.Sum32()
	switch {
	case p.class == gvisor:
		return n%16 == 0
	case *update:
		return true
	case p.kind == cold:
		return n%3 == 0
	case p.kind == runspace:
		return n%3 == 1
	default:
		return true
	}
}

// group is the places in which the same was seen.
type group struct {
	places        []place
	seen, verdict string
}

// render makes the Markdown table, row by row in their order.
func (tb *table) render(list []row) string {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	var b strings.Builder
	verdicts := map[string]int{}
	absent := map[string]int{}
	b.WriteString("| id | attempt | place | expected | seen | verdict |\n|---|---|---|---|---|---|\n")
	tried := 0
	for _, r := range list {
		groups := tb.groups(r)
		for _, g := range groups {
			verdicts[g.verdict] += len(g.places)
			tried += len(g.places)
			seen := g.seen
			if g.verdict == notRun {
				absent[seen] += len(g.places)
				if len(groups) > 1 {
					continue // told in the summary, beside the rows that did run
				}
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.id, cellText(r.attempt), places(r, g.places), cellText(r.expected), cellText(seen), g.verdict)
		}
	}
	return summary(len(list), tried, verdicts, absent) + "\n" + b.String()
}

// summary says how many there are, and what was not run and why.
func summary(attempts, tried int, verdicts, absent map[string]int) string {
	form := "short form"
	if *full {
		form = "full form"
	}
	host, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	s := fmt.Sprintf("%d attempts, made in %d places in all (%s, %s, Linux %s):", attempts, tried, form, time.Now().UTC().Format(time.DateOnly), strings.TrimSpace(string(host)))
	for _, v := range []string{held, broken, failed, thin, notRun} {
		s += fmt.Sprintf(" %d %s,", verdicts[v], v)
	}
	s = strings.TrimSuffix(s, ",") + ".\n"
	reasons := make([]string, 0, len(absent))
	for why, n := range absent {
		reasons = append(reasons, fmt.Sprintf("- not run in %d places: %s\n", n, cellText(why)))
	}
	slices.Sort(reasons)
	return s + "\n" + strings.Join(reasons, "")
}

func (tb *table) groups(r row) []group {
	var groups []group
	for _, p := range r.places {
		for _, res := range tb.results {
			if res.id != r.id || res.attempt != r.attempt || res.place != p {
				continue
			}
			i := slices.IndexFunc(groups, func(g group) bool { return g.seen == res.seen && g.verdict == res.verdict })
			if i < 0 {
				groups = append(groups, group{seen: res.seen, verdict: res.verdict})
				i = len(groups) - 1
			}
			groups[i].places = append(groups[i].places, p)
		}
	}
	return groups
}

// places names a set of places shortly.
func places(r row, set []place) string {
	if len(set) == len(r.places) && len(set) > 1 {
		return "all"
	}
	var names []string
	for _, class := range []string{process, gvisor, atServer.class} {
		var kinds []string
		total := 0
		for _, p := range r.places {
			if p.class == class {
				total++
			}
		}
		for _, p := range set {
			if p.class == class && p.kind != "" {
				kinds = append(kinds, p.kind)
			}
		}
		switch {
		case len(kinds) == total && total > 1:
			names = append(names, class)
		case len(kinds) > 0:
			names = append(names, class+" "+strings.Join(kinds, ", "))
		case slices.Contains(set, place{class: class}):
			names = append(names, class)
		}
	}
	return strings.Join(names, "; ")
}

// cellText makes a text safe for one cell.
func cellText(s string) string {
	if len(s) > 160 {
		s = s[:157] + "..."
	}
	return strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;", "\r", " ", "`", "'").Replace(strings.ToValidUTF8(s, "?"))
}

// The table stands between these lines of the document.
const (
	document   = "../../docs/security.md"
	beginTable = "<!-- attempts: made by `make attempts`, do not edit -->\n"
	endTable   = "<!-- attempts: end -->\n"
)

func readDocument(t *testing.T) (before, text, after string) {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash(document))
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), beginTable)
	text, after, ok2 := strings.Cut(rest, endTable)
	if !ok || !ok2 {
		t.Fatalf("%s has no lines %q and %q", document, beginTable, endTable)
	}
	return before, text, after
}

func writeTable(t *testing.T, text string) {
	t.Helper()
	before, _, after := readDocument(t)
	if err := os.WriteFile(filepath.FromSlash(document), []byte(before+beginTable+"\n"+text+"\n"+endTable+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestDocument checks that the table of the document has the rows of the tests,
// and that the rows can be told apart.
func TestDocument(t *testing.T) {
	t.Parallel()
	_, text, _ := readDocument(t)
	written := map[string]bool{}
	for line := range strings.Lines(text) {
		if cells := strings.Split(line, " | "); len(cells) > 4 && !strings.HasPrefix(line, "| id") {
			written[strings.TrimPrefix(cells[0], "| ")+" "+cells[1]] = true
		}
	}
	known := map[string]bool{}
	for _, r := range rows() {
		name := r.id + " " + cellText(r.attempt)
		if known[name] {
			t.Errorf("two rows are named %q", name)
		}
		known[name] = true
		if !written[name] {
			t.Errorf("docs/security.md lacks the row %q: run make attempts", name)
		}
	}
	for name := range written {
		if !known[name] {
			t.Errorf("docs/security.md has the row %q, which is not tried: run make attempts", name)
		}
	}
	if len(known) < 150 {
		t.Errorf("there are %d attempts, want at least 150", len(known))
	}
}
