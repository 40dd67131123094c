package bench

import (
	"slices"
	"time"
)

// Series is the samples of one thing measured.
type Series struct {
	Name    string
	Note    string // what the reader must know to compare
	Samples []time.Duration
	Errors  int
	Missing string // why it was not measured; "" when it was
}

// Quantile returns the q-quantile (0..1) of the samples, 0 without samples.
func (s *Series) Quantile(q float64) time.Duration {
	if len(s.Samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.Samples))
	i := int(q * float64(len(sorted)))
	return sorted[min(i, len(sorted)-1)]
}

// Min returns the smallest sample.
func (s *Series) Min() time.Duration { return s.Quantile(0) }

// Median returns the middle sample.
func (s *Series) Median() time.Duration { return s.Quantile(0.5) }

// P99 returns the 99th percentile.
func (s *Series) P99() time.Duration { return s.Quantile(0.99) }

// time takes the time of f.
func (s *Series) time(f func() error) {
	start := time.Now()
	err := f()
	s.add(time.Since(start), err)
}

// add keeps a sample, or counts the error.
func (s *Series) add(took time.Duration, err error) {
	if err == nil {
		s.Samples = append(s.Samples, took)
		return
	}
	s.Errors++
	if s.Errors == 1 {
		s.Note = "first error: " + firstLine(err.Error())
	}
}

// Rate is how many a second, measured in several pieces.
type Rate struct {
	Name      string
	Note      string
	PerSecond []float64
	Errors    int
	Missing   string
}

// Median returns the middle piece, 0 without any.
func (r *Rate) Median() float64 {
	if len(r.PerSecond) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(r.PerSecond))[len(r.PerSecond)/2]
}

// share counts how many of all were so.
type share struct{ some, all int }

func (s *share) add(so bool) {
	s.all++
	if so {
		s.some++
	}
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
