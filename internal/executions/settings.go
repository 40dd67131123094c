package executions

import (
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Settings bound executions. The zero value of each field takes the default.
type Settings struct {
	// StartTimeout bounds the cold start of an instance, waiting for a turn
	// included. Default 30 s.
	StartTimeout time.Duration
	// CancelGrace is how long a canceled script may take to end after SIGINT.
	// Default 200 ms.
	CancelGrace time.Duration
	// Guard is how long after its time limit an execution that the engine did
	// not end is killed from outside. Default 5 s.
	Guard time.Duration
	// OutputLimit is how many bytes of output are kept. Default
	// remuda.DefaultOutputLimit.
	OutputLimit int64
	// FlushEvery is how long output may wait for more before it is stored.
	// Default 20 ms.
	FlushEvery time.Duration
	// RecordAfter is how long the record of a new execution may wait for its end
	// while its script runs, to be written with it. Whoever is to be told of the
	// execution makes it due at once. Default 2 ms.
	RecordAfter time.Duration
	// RecordQueued is the same for an execution that waits for its instance.
	// Nothing of it has run and nobody was told of it. Default 250 ms.
	RecordQueued time.Duration
	// MaxWait bounds one wait of a caller. Default 5 min.
	MaxWait time.Duration
	// Limits say how much of the past is kept; nil keeps all of it.
	Limits Limits
	// HistoryEvery is how often that is looked at. Default 5 min.
	HistoryEvery time.Duration
	// OrphansEvery is how often rows that nobody owns are looked for. Default 1 min.
	OrphansEvery time.Duration
}

func (s Settings) withDefaults() Settings {
	s.StartTimeout = orDefault(s.StartTimeout, 30*time.Second)
	s.CancelGrace = orDefault(s.CancelGrace, 200*time.Millisecond)
	s.Guard = orDefault(s.Guard, 5*time.Second)
	s.OutputLimit = orDefault(s.OutputLimit, remuda.DefaultOutputLimit)
	s.FlushEvery = orDefault(s.FlushEvery, 20*time.Millisecond)
	s.RecordAfter = orDefault(s.RecordAfter, 2*time.Millisecond)
	s.RecordQueued = orDefault(s.RecordQueued, 250*time.Millisecond)
	s.MaxWait = orDefault(s.MaxWait, 5*time.Minute)
	s.HistoryEvery = orDefault(s.HistoryEvery, 5*time.Minute)
	s.OrphansEvery = orDefault(s.OrphansEvery, time.Minute)
	return s
}

func orDefault[T int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
