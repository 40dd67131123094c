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

// add times f and keeps the sample when it succeeds.
func (s *Series) add(f func() error) {
	start := time.Now()
	err := f()
	took := time.Since(start)
	if err != nil {
		s.Errors++
		if s.Note == "" {
			s.Note = err.Error()
		}
		return
	}
	s.Samples = append(s.Samples, took)
}
