package runspaces

import "time"

// Settings bound runspaces. The zero value of each field takes the default.
type Settings struct {
	// IdleTimeout is for runspaces that do not say. Default 30 min; a negative
	// value means never.
	IdleTimeout time.Duration
	// ActiveTimeout is how long one script may run, in runspaces that do not say.
	// Default 0, never: a script has the time limit of its runtime besides.
	ActiveTimeout time.Duration
	// MaxIdleTimeout is the longest that may be asked for (0, never, may be asked
	// for too). Default 24 h.
	MaxIdleTimeout time.Duration
	// PrepareTimeout is when a runspace that does not become ready is given up.
	// Default 60 s.
	PrepareTimeout time.Duration
	// CancelGrace is how long a script may take to end when its runspace is
	// deleted. Default 200 ms.
	CancelGrace time.Duration
	// MaxOpen bounds the open runspaces of one organization. Default 256.
	MaxOpen int
	// MaxListedFiles bounds one list of files. Default 10,000.
	MaxListedFiles int
	// Linger is how long a sandbox outlives its server. Default 10 min; a negative
	// value means not at all.
	Linger time.Duration
	// Limits are of organizations; nil has none.
	Limits Limits
	// Sessions are what runspaces may end with; nil knows none, and ends nothing.
	Sessions Sessions
	// Delegates make tokens for connection scripts; nil makes none.
	Delegates Delegates
	// DisconnectTimeout bounds a disconnect script, and with it how long the end of a
	// runspace waits for one. Default 10 s.
	DisconnectTimeout time.Duration
	// SessionsEvery is how often they are asked. Default 5 s.
	SessionsEvery time.Duration
	// UsedEvery is how often the last uses are noted. Default 30 s.
	UsedEvery time.Duration
	// SweepEvery is how often idle runspaces are looked for. Default 1 s. Runspaces that
	// ran for too long are found at the same time.
	SweepEvery time.Duration
	// OrphansEvery is how often rows without a keeper are looked for. Default 1 min.
	OrphansEvery time.Duration
}

func (s Settings) withDefaults() Settings {
	switch {
	case s.IdleTimeout == 0:
		s.IdleTimeout = 30 * time.Minute
	case s.IdleTimeout < 0:
		s.IdleTimeout = 0
	}
	switch {
	case s.Linger == 0:
		s.Linger = 10 * time.Minute
	case s.Linger < 0:
		s.Linger = 0
	}
	s.ActiveTimeout = max(0, s.ActiveTimeout)
	s.DisconnectTimeout = orDefault(s.DisconnectTimeout, 10*time.Second)
	s.SessionsEvery = orDefault(s.SessionsEvery, 5*time.Second)
	s.UsedEvery = orDefault(s.UsedEvery, 30*time.Second)
	s.MaxIdleTimeout = orDefault(s.MaxIdleTimeout, 24*time.Hour)
	s.PrepareTimeout = orDefault(s.PrepareTimeout, time.Minute)
	s.CancelGrace = orDefault(s.CancelGrace, 200*time.Millisecond)
	s.MaxOpen = orDefault(s.MaxOpen, 256)
	s.MaxListedFiles = orDefault(s.MaxListedFiles, 10_000)
	s.SweepEvery = orDefault(s.SweepEvery, time.Second)
	s.OrphansEvery = orDefault(s.OrphansEvery, time.Minute)
	return s
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
