package bench

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

func TestQuantiles(t *testing.T) {
	t.Parallel()
	s := Series{}
	for i := 100; i >= 1; i-- {
		s.Samples = append(s.Samples, time.Duration(i)*time.Millisecond)
	}
	for _, c := range []struct {
		name string
		got  time.Duration
		want time.Duration
	}{
		{"min", s.Min(), time.Millisecond},
		{"median", s.Median(), 51 * time.Millisecond},
		{"p99", s.P99(), 100 * time.Millisecond},
		{"empty", (&Series{}).Median(), 0},
	} {
		if c.got != c.want {
			t.Errorf("%s is %v, want %v", c.name, c.got, c.want)
		}
	}
	if s.Samples[0] != 100*time.Millisecond {
		t.Error("Quantile reordered the samples")
	}
}

// A peer that is on this machine must really run the line, and one that is not
// must say so: a table with silent gaps would flatter us.
func TestPeersRunOrSayWhyNot(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("the peers need root")
	}
	dir, err := os.MkdirTemp("", "rb-") // podman wants a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, p := range peers(t.Context(), dir) {
		if p.series.Missing != "" {
			t.Logf("%s: %s", p.series.Name, p.series.Missing)
			continue
		}
		if err := p.run(t.Context()); err != nil {
			t.Errorf("%s ran once and then not: %v", p.series.Name, err)
		}
	}
}

func TestReportNamesWhatWasMissed(t *testing.T) {
	t.Parallel()
	m := &measurement{report: &Report{}}
	m.ref = Series{Name: "ref", Samples: []time.Duration{10 * time.Millisecond}}
	m.cold = Series{Name: "cold", Samples: []time.Duration{20 * time.Millisecond}}
	m.warm = Series{Name: "warm", Samples: []time.Duration{time.Millisecond}}
	m.runspace = Series{Name: "runspace", Samples: []time.Duration{time.Millisecond / 5}}
	m.finish([]*peer{{series: &Series{Name: "runc", Samples: []time.Duration{30 * time.Millisecond}}}, missing("bwrap")})
	var out bytes.Buffer
	if err := m.report.print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"MISSED", "met", "not installed", "cold one-shot against runc"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
}
