package bench

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// Host says on what machine a run was made.
type Host struct {
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Load   string `json:"load_before"`
	Busy   bool   `json:"busy"` // others used the machine: no verdict is given
}

func fingerprint() Host {
	h := Host{Cores: runtime.NumCPU()}
	var u syscall.Utsname
	if syscall.Uname(&u) == nil {
		var b strings.Builder
		for _, c := range u.Release {
			if c == 0 {
				break
			}
			b.WriteByte(byte(c))
		}
		h.Kernel = b.String()
	}
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(raw)) {
			if strings.HasPrefix(line, "model name") {
				_, name, _ := strings.Cut(line, ":")
				h.CPU = strings.TrimSpace(name)
				break
			}
		}
	}
	if raw, err := os.ReadFile("/proc/loadavg"); err == nil {
		h.Load = strings.TrimSpace(string(raw))
		var one float64
		if _, err := fmt.Sscan(h.Load, &one); err == nil {
			h.Busy = one > float64(h.Cores)*0.75
		}
	}
	return h
}

// Row is one line of the table.
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

// Goal is one target of the project and whether this run met it.
type Goal struct {
	Name string  `json:"name"`
	Goal string  `json:"goal"`
	Got  float64 `json:"got"`
	Met  bool    `json:"met"`
}

// Stages is where the time of one kind of execution went.
type Stages struct {
	Name     string           `json:"name"`
	MedianUS map[string]int64 `json:"median_us"`
}

// stageTable collects the timings that executions report.
type stageTable struct{ samples map[string][]int64 }

func (t *stageTable) add(us map[string]int64) {
	if t.samples == nil {
		t.samples = map[string][]int64{}
	}
	for k, v := range us {
		t.samples[k] = append(t.samples[k], v)
	}
}

func (t *stageTable) medians(name string) Stages {
	out := Stages{Name: name, MedianUS: map[string]int64{}}
	for k, v := range t.samples {
		slices.Sort(v)
		out.MedianUS[k] = v[len(v)/2]
	}
	return out
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (m *measurement) row(s *Series) Row {
	ref := m.ref.Median()
	r := Row{Name: s.Name, N: len(s.Samples), Errors: s.Errors, Note: s.Note, Missing: s.Missing}
	if len(s.Samples) > 0 && ref > 0 {
		r.MinMS, r.MedianMS, r.P99MS = ms(s.Min()), ms(s.Median()), ms(s.P99())
		r.Ratio = float64(s.Median()) / float64(ref)
		r.P99Ratio = float64(s.P99()) / float64(ref)
	}
	return r
}

// finish turns the series into rows and goals.
func (m *measurement) finish(others []*peer) {
	rep := m.report
	for _, s := range []*Series{&m.ref, &m.cold, &m.warm, &m.runspace} {
		rep.Rows = append(rep.Rows, m.row(s))
	}
	cold, warm, runspace := rep.Rows[1], rep.Rows[2], rep.Rows[3]
	goal := func(name, text string, got float64, met bool) {
		rep.Goals = append(rep.Goals, Goal{Name: name, Goal: text, Got: got, Met: met})
	}
	goal("cold one-shot p50", "<= 1.6 ref", cold.Ratio, cold.Ratio > 0 && cold.Ratio <= 1.6)
	for _, p := range others {
		r := m.row(p.series)
		rep.Rows = append(rep.Rows, r)
		if r.N == 0 {
			continue
		}
		switch r.Name {
		case "runc":
			goal("cold one-shot against runc", "< 1 of runc", cold.MedianMS/r.MedianMS, cold.MedianMS < r.MedianMS)
		case "podman run", "docker run":
			goal("cold one-shot against "+r.Name, "<= 1/6 of "+r.Name, cold.MedianMS/r.MedianMS, cold.MedianMS*6 <= r.MedianMS)
		}
	}
	goal("warm one-shot p50", "<= 0.15 ref", warm.Ratio, warm.Ratio > 0 && warm.Ratio <= 0.15)
	goal("warm one-shot p99", "<= 0.6 ref", warm.P99Ratio, warm.P99Ratio > 0 && warm.P99Ratio <= 0.6)
	goal("runspace 1+1 p50", "<= 0.04 ref", runspace.Ratio, runspace.Ratio > 0 && runspace.Ratio <= 0.04)
	goal("idle server", "<= 60 MB resident", rep.IdleMB, rep.IdleMB <= 60)
	rep.Stages = []Stages{m.coldStages.medians("cold one-shot"), m.warmStages.medians("warm one-shot")}
}

func (rep *Report) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "host\t%s, %d cores, Linux %s, load before %s\n\n", rep.Host.CPU, rep.Host.Cores, rep.Host.Kernel, rep.Host.Load)
	fmt.Fprintln(w, "what\tn\terrors\tmin ms\tp50 ms\tp99 ms\tp50/ref\tp99/ref\tnote")
	for _, r := range rep.Rows {
		if r.Missing != "" {
			fmt.Fprintf(w, "%s\t-\t-\t-\t-\t-\t-\t-\t%s\n", r.Name, r.Missing)
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%.2f\t%.2f\t%.2f\t%.3f\t%.3f\t%s\n", r.Name, r.N, r.Errors, r.MinMS, r.MedianMS, r.P99MS, r.Ratio, r.P99Ratio, r.Note)
	}
	fmt.Fprintln(w, "\ngoal\twanted\tgot\t")
	for _, g := range rep.Goals {
		verdict := "met"
		if !g.Met {
			verdict = "MISSED"
		}
		if rep.Host.Busy {
			verdict = "no verdict: the machine was busy before the run"
		}
		fmt.Fprintf(w, "%s\t%s\t%.3f\t%s\n", g.Name, g.Goal, g.Got, verdict)
	}
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
	return w.Flush()
}
