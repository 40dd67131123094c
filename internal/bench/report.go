package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// Row is one line of the table of latencies.
type Row struct {
	Name     string  `json:"name"`
	N        int     `json:"n"`
	Errors   int     `json:"errors"`
	MinMS    float64 `json:"min_ms"`
	MedianMS float64 `json:"median_ms"`
	P99MS    float64 `json:"p99_ms"`
	Ratio    float64 `json:"median_ratio_to_ref"`
	P99Ratio float64 `json:"p99_ratio_to_ref"`
	Note     string  `json:"note,omitempty"`
	Missing  string  `json:"missing,omitempty"`
}

// RateOf is one line of the table of rates.
type RateOf struct {
	Name      string  `json:"name"`
	Pieces    int     `json:"pieces"`
	Errors    int     `json:"errors"`
	PerSecond float64 `json:"median_per_second"`
	Note      string  `json:"note,omitempty"`
	Missing   string  `json:"missing,omitempty"`
}

// Stages is where the time of one kind of execution went.
type Stages struct {
	Name     string           `json:"name"`
	MedianUS map[string]int64 `json:"median_us"`
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (m *measurement) row(s *Series) Row {
	ref := m.ref.Median()
	r := Row{Name: s.Name, N: len(s.Samples), Errors: s.Errors, Note: s.Note, Missing: s.Missing}
	if len(s.Samples) > 0 {
		r.MinMS, r.MedianMS, r.P99MS = ms(s.Min()), ms(s.Median()), ms(s.P99())
		r.Ratio, r.P99Ratio = ratio(s.Median(), ref), ratio(s.P99(), ref)
	}
	return r
}

// finish turns what was measured into the report.
func (m *measurement) finish() {
	rep := &m.report
	if m.warmShare.all > 0 {
		m.warm200.Note += fmt.Sprintf("; %d of %d executions of both loads met a warm one", m.warmShare.some, m.warmShare.all)
	}
	if m.loops.warm.all > 0 {
		m.loops.fresh.Note += fmt.Sprintf("; %d of %d met a warm one", m.loops.warm.some, m.loops.warm.all)
	}
	if m.neighbour.warm.all > 0 {
		m.neighbour.loud.Note += fmt.Sprintf("; %d of %d met a warm one", m.neighbour.warm.some, m.neighbour.warm.all)
	}
	series := []*Series{
		&m.ref, &m.coldUp, &m.coldNothing, &m.warm200, &m.warm50, &m.runspace, &m.stream, &m.floorFork,
		&m.preload.ours, &m.preload.floor, &m.kernel, &m.kernelStart,
		&m.lasting.ready, &m.lasting.interrupt, &m.lasting.attached, &m.neighbour.quiet, &m.neighbour.loud,
	}
	for _, p := range m.peers {
		series = append(series, p.series)
	}
	for _, s := range series {
		if r := m.row(s); r.N > 0 || r.Errors > 0 || r.Missing != "" {
			rep.Rows = append(rep.Rows, r)
		}
	}
	for _, r := range []*Rate{&m.loops.fresh, &m.loops.floor, &m.loops.container, &m.loops.nothing, &m.loops.python, &m.loops.stream} {
		if len(r.PerSecond) > 0 || r.Errors > 0 || r.Missing != "" {
			rep.Rates = append(rep.Rates, RateOf{r.Name, len(r.PerSecond), r.Errors, r.Median(), r.Note, r.Missing})
		}
	}
	for _, s := range []Stages{
		m.warmStages.medians("warm one-shot"), m.upStages.medians("cold, template up"), m.nothingStages.medians("cold, nothing up"),
		m.neighbour.stages.medians("warm one-shot, loud neighbour"),
	} {
		if len(s.MedianUS) > 0 {
			rep.Stages = append(rep.Stages, s)
		}
	}
	rep.Goals = m.judge()
}

func (rep *Report) encode(out io.Writer) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(rep)
}

func (rep *Report) print(out io.Writer) error {
	h := rep.Host
	fmt.Fprintf(out, "host: %s, %d cores, %d MiB, Linux %s, cgroup %s, %s\n", h.CPU, h.Cores, h.MemoryMB, h.Kernel, h.Cgroup, h.Python)
	fmt.Fprintf(out, "load before %s; in use before %.0f %%, after %.0f %%; stolen during %.1f %%; the run took %.0f s\n\n",
		h.Load, 100*h.BusyBefore, 100*h.BusyAfter, 100*h.Steal, rep.TookS)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	rep.printLatencies(w)
	rep.printRates(w)
	rep.printMemory(w)
	rep.printGoals(w)
	rep.printStages(w)
	return w.Flush()
}

func (rep *Report) printLatencies(w io.Writer) {
	fmt.Fprintln(w, "what\tn\terrors\tmin ms\tp50 ms\tp99 ms\tp50/ref\tp99/ref\tnote")
	for _, r := range rep.Rows {
		if r.Missing != "" {
			fmt.Fprintf(w, "%s\t-\t-\t-\t-\t-\t-\t-\t%s\n", r.Name, r.Missing)
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%.2f\t%.2f\t%.2f\t%.3f\t%.3f\t%s\n", r.Name, r.N, r.Errors, r.MinMS, r.MedianMS, r.P99MS, r.Ratio, r.P99Ratio, r.Note)
	}
}

func (rep *Report) printRates(w io.Writer) {
	if len(rep.Rates) == 0 {
		return
	}
	fmt.Fprintln(w, "\nwhat\tpieces\terrors\ta second\tnote")
	for _, r := range rep.Rates {
		if r.Missing != "" {
			fmt.Fprintf(w, "%s\t-\t-\t-\t%s\n", r.Name, r.Missing)
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%.0f\t%s\n", r.Name, r.Pieces, r.Errors, r.PerSecond, r.Note)
	}
}

func (rep *Report) printMemory(w io.Writer) {
	m := rep.Memory
	fmt.Fprintf(w, "\nmemory\t\nserver, idle, nothing warm\t%.1f MB resident\n", m.IdleServerMB)
	switch {
	case m.Missing != "":
		fmt.Fprintf(w, "warm instances\t%s\n", m.Missing)
	case m.Instances > 0:
		fmt.Fprintf(w, "server, %d warm\t%.1f MB resident\n", m.Instances, m.ServerMB)
		fmt.Fprintf(w, "a warm instance, private\t%.0f KB in %.1f processes\n", m.PrivateKB, m.Processes)
		fmt.Fprintf(w, "a warm instance, all told\t%.0f KB less for others, the kernel's own included\n", m.AllKB)
	}
}

func (rep *Report) printGoals(w io.Writer) {
	busy := rep.Host.Busy()
	fmt.Fprintln(w, "\ngoal\twanted\tgot\t")
	for _, g := range rep.Goals {
		verdict := "MISSED"
		switch {
		case g.Missing != "":
			fmt.Fprintf(w, "%s\t%s\t-\t%s\n", g.Name, g.Goal, g.Missing)
			continue
		case busy != "":
			verdict = "no verdict"
		case g.Met:
			verdict = "met"
		}
		fmt.Fprintf(w, "%s\t%s\t%.3f\t%s\n", g.Name, g.Goal, g.Got, verdict)
	}
	if busy != "" {
		fmt.Fprintf(w, "\nno verdict: %s; run it again on a quiet machine\n", busy)
	}
}

func (rep *Report) printStages(w io.Writer) {
	for _, s := range rep.Stages {
		fmt.Fprintf(w, "\nstages of %s (median)\tus\n", s.Name)
		names := make([]string, 0, len(s.MedianUS))
		for k := range s.MedianUS {
			names = append(names, k)
		}
		slices.SortFunc(names, func(a, b string) int { return int(s.MedianUS[b] - s.MedianUS[a]) })
		for _, k := range names {
			fmt.Fprintf(w, "%s\t%d\n", k, s.MedianUS[k])
		}
	}
}
