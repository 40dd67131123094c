package runtimes

import (
	"runtime"
	"syscall"
	"time"

	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/layer"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Settings bound what a definition may ask for. The zero value of each field
// takes the default.
type Settings struct {
	MaxCPU      float64 // cores; default: the machine's
	MaxMemoryMB int     // default: the machine's memory
	MaxDiskMB   int     // default 65,536
	MaxPids     int     // default 4,096
	MaxCached   int     // warm instances of one runtime; default 256
	// Network says what may be listed as egress on this site; default: anything.
	Network egress.Rules
	// Isolations are the classes that runtimes may have on this site; default: all.
	Isolations []remuda.Isolation
	// Available says why this machine has no sandboxes of a class; nil is that it
	// has all.
	Available func(remuda.Isolation) error
	// Policies says what an organization may do; nil is anything.
	Policies Policies
	// Layers makes packages into layers; nil is that this server installs none.
	Layers Layers
	// ParallelBuilds bounds the builds that go on at the same time, of which one
	// organization has one less at most; default 3.
	ParallelBuilds int
	// BuildTimeout bounds one build as a whole. Default 35 min.
	BuildTimeout time.Duration
	// LockTTL is how long an equal build takes what was resolved before; negative
	// is never. Default layer.DefaultLockTTL.
	LockTTL time.Duration
	// CollectEvery is how often unused layers are looked for. Default 1 min.
	CollectEvery time.Duration
	// MaxDrain bounds how long a deletion waits for what runs. Default 5 min.
	MaxDrain time.Duration
	// BuiltinPool are the bounds of the built-in runtimes. Default: none kept
	// when nobody asks, up to two after demand.
	BuiltinPool remuda.PoolBounds
}

// Policies knows what organizations may do.
type Policies interface {
	Policy(org remuda.OrganizationID) remuda.Policy
}

func (s Settings) withDefaults() Settings {
	if len(s.Isolations) == 0 {
		s.Isolations = remuda.Isolations()
	}
	if s.MaxCPU <= 0 {
		s.MaxCPU = float64(runtime.NumCPU())
	}
	if s.MaxMemoryMB <= 0 {
		s.MaxMemoryMB = machineMemoryMB()
	}
	if s.MaxDiskMB <= 0 {
		s.MaxDiskMB = 64 << 10
	}
	if s.MaxPids <= 0 {
		s.MaxPids = 4096
	}
	if s.MaxCached <= 0 {
		s.MaxCached = 256
	}
	if s.ParallelBuilds <= 0 {
		s.ParallelBuilds = 3
	}
	if s.BuildTimeout <= 0 {
		s.BuildTimeout = 35 * time.Minute
	}
	if s.LockTTL == 0 {
		s.LockTTL = layer.DefaultLockTTL
	}
	if s.CollectEvery <= 0 {
		s.CollectEvery = time.Minute
	}
	if s.MaxDrain <= 0 {
		s.MaxDrain = 5 * time.Minute
	}
	if s.BuiltinPool == (remuda.PoolBounds{}) {
		s.BuiltinPool = remuda.PoolBounds{MaxCached: 2}
	}
	return s
}

func machineMemoryMB() int {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return 16 << 10 // cannot happen with a valid pointer; a bound must exist all the same
	}
	return int(uint64(info.Totalram) * uint64(info.Unit) >> 20) //nolint:unconvert // 32 bits on some machines
}

// Defaults of a definition's fields.
const (
	DefaultCPU         = 1.0
	DefaultMemoryMB    = 512
	DefaultDiskMB      = 256
	DefaultPids        = 128
	DefaultExecTimeout = 60 * time.Second
)

// WithDefaults fills the fields of a new definition that were left zero: the
// environment host, version policy exact, isolation process, one core, 512 MiB of memory, 256 MiB of disk, 128 processes,
// 60 seconds, and a pool maximum that is at least its minimum. A pool of 0 to 0
// stays: it keeps nothing warm.
func WithDefaults(d remuda.Definition) remuda.Definition {
	d = d.Clone()
	if d.Environment == "" {
		d.Environment = remuda.EnvironmentHost
	}
	if d.Resources.CPU == 0 {
		d.Resources.CPU = DefaultCPU
	}
	if d.Resources.MemoryMB == 0 {
		d.Resources.MemoryMB = DefaultMemoryMB
	}
	if d.Resources.DiskMB == 0 {
		d.Resources.DiskMB = DefaultDiskMB
	}
	if d.Resources.Pids == 0 {
		d.Resources.Pids = DefaultPids
	}
	if d.VersionPolicy == "" {
		d.VersionPolicy = remuda.VersionExact
	}
	if d.Isolation == "" {
		d.Isolation = remuda.IsolationProcess
	}
	if d.ExecTimeout == 0 {
		d.ExecTimeout = DefaultExecTimeout
	}
	if d.Pool.MaxCached == 0 && d.Pool.MinCached > 0 {
		d.Pool.MaxCached = d.Pool.MinCached
	}
	return d
}
