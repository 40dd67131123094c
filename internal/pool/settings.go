package pool

import (
	"runtime"
	"time"
)

// Settings bound a pool. The zero value of each field takes the default.
type Settings struct {
	// Capacity is the number of slots: instances that exist at the same time,
	// warm and leased together. Default: 64, or 32 for each core if that is more.
	Capacity int
	// ParallelStarts bounds the starts of warm instances that go on at the same
	// time. Default: the number of cores. While somebody waits for a cold start
	// it is 1, and half when the pools are at least half full, so that filling
	// does not cost users their latency.
	ParallelStarts int
	// ParallelCold bounds the cold starts that go on at the same time; others
	// wait in line. Default: two for each core.
	ParallelCold int
	// RefillDelay is when a leased instance is replaced that has not been released
	// by then, if the pool is at least half full. Default 20 ms.
	RefillDelay time.Duration
	// Window is the time over which demand is counted. Default 30 s.
	Window time.Duration
	// Tick is how often warm instances are checked and surplus ones removed.
	// Default 1 s.
	Tick time.Duration
	// StartTimeout bounds the start of one warm instance. Default 30 s.
	StartTimeout time.Duration
	// DestroyTimeout bounds one attempt to destroy an instance. Default 30 s.
	DestroyTimeout time.Duration
	// BackoffMin and BackoffMax bound the pause after a failed start; it doubles
	// with every failure in a row and has jitter. Default 250 ms and 30 s.
	BackoffMin, BackoffMax time.Duration
}

func (s Settings) withDefaults() Settings {
	cores := runtime.NumCPU()
	s.Capacity = orDefault(s.Capacity, max(64, 32*cores))
	s.ParallelStarts = orDefault(s.ParallelStarts, cores)
	s.ParallelCold = orDefault(s.ParallelCold, 2*cores)
	s.RefillDelay = orDefault(s.RefillDelay, 20*time.Millisecond)
	s.Window = orDefault(s.Window, 30*time.Second)
	s.Tick = orDefault(s.Tick, time.Second)
	s.StartTimeout = orDefault(s.StartTimeout, 30*time.Second)
	s.DestroyTimeout = orDefault(s.DestroyTimeout, 30*time.Second)
	s.BackoffMin = orDefault(s.BackoffMin, 250*time.Millisecond)
	s.BackoffMax = orDefault(s.BackoffMax, 30*time.Second)
	return s
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
