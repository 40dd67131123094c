package config

import (
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// What SIGTERM does to open runspaces.
const (
	OnStopKeep  = "keep"
	OnStopClose = "close"
)

// maxLinger bounds how long what nobody may ever ask for again stays on a machine.
const maxLinger = 24 * time.Hour

// maxMemoryMB is more than machines have.
const maxMemoryMB = 1 << 24

// Limits are the site's, for organizations that have none of their own. The settings
// were validated.
func (c Config) Limits() remuda.Limits {
	return remuda.Limits{
		MaxRunspaces: c.RunspaceMax, MaxRunspacesPerUser: c.RunspaceMaxPerUser,
		IdleTimeout: c.RunspaceIdleTimeout, ActiveTimeout: c.RunspaceActiveTimeout, MemoryMB: c.RunspaceMemoryMB,
		KeepExecutions: c.ExecutionKeep, KeepFor: c.ExecutionKeepFor,
	}
}

// validateRunspaces says what is wrong with the settings of runspaces.
func validateRunspaces(c Config, check func(key string, ok bool, format string, args ...any)) {
	check("runspace_on_stop", c.RunspaceOnStop == OnStopKeep || c.RunspaceOnStop == OnStopClose, "%q is neither keep nor close", c.RunspaceOnStop)
	check("runspace_linger", c.RunspaceLinger <= maxLinger && (c.RunspaceLinger == 0 || c.RunspaceLinger >= time.Second), "%s is not 0 or between 1s and %s", c.RunspaceLinger, maxLinger)
	check("runspace_active_timeout", c.RunspaceActiveTimeout == 0 || c.RunspaceActiveTimeout >= time.Second, "%s is less than a second; 0 is never", c.RunspaceActiveTimeout)
	check("runspace_max", c.RunspaceMax >= 1, "it must be at least 1")
	check("runspace_memory_mb", c.RunspaceMemoryMB == 0 || c.RunspaceMemoryMB >= 16 && c.RunspaceMemoryMB <= maxMemoryMB, "%d is not 0 or between 16 and %d", c.RunspaceMemoryMB, maxMemoryMB)
	check("execution_keep_for", c.ExecutionKeepFor == 0 || c.ExecutionKeepFor >= time.Minute, "%s is less than a minute; 0 is for good", c.ExecutionKeepFor)
}
