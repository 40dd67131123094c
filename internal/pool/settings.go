package pool

import (
	"runtime"
	"syscall"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
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
	// MemoryMB bounds the memory of all idle warm instances together. Default: a
	// quarter of the machine's.
	MemoryMB int
	// Share is how many instances an organization may hold at the same time; 0 or
	// a nil function is no bound. Idle instances count for nobody.
	Share func(remuda.OrganizationID) int
	// RefillDelay is when a leased instance is replaced that has not been released
	// by then, if the pool is at least half full. Default 20 ms.
	RefillDelay time.Duration
	// Window is the time in which the memory of demand fades by half, and after
	// which a lease that goes on is no demand any more. Default 30 s.
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

// WithDefaults fills the fields that were left zero.
func (s Settings) WithDefaults() Settings {
	cores := runtime.NumCPU()
	s.Capacity = orDefault(s.Capacity, max(64, 32*cores))
	s.ParallelStarts = orDefault(s.ParallelStarts, cores)
	s.ParallelCold = orDefault(s.ParallelCold, 2*cores)
	s.MemoryMB = orDefault(s.MemoryMB, machineMemoryMB()/4)
	s.RefillDelay = orDefault(s.RefillDelay, 20*time.Millisecond)
	s.Window = orDefault(s.Window, 30*time.Second)
	s.Tick = orDefault(s.Tick, time.Second)
	s.StartTimeout = orDefault(s.StartTimeout, 30*time.Second)
	s.DestroyTimeout = orDefault(s.DestroyTimeout, 30*time.Second)
	s.BackoffMin = orDefault(s.BackoffMin, 250*time.Millisecond)
	s.BackoffMax = orDefault(s.BackoffMax, 30*time.Second)
	return s
}

func machineMemoryMB() int {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return 4 << 10 // cannot happen with a valid pointer; a bound must exist all the same
	}
	return int(uint64(info.Totalram) * uint64(info.Unit) >> 20) //nolint:unconvert // 32 bits on some machines
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
