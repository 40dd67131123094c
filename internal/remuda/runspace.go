package remuda

import (
	"io/fs"
	"time"
)

// Runspace is a holder's lease on an instance: stateful, interactive, long-lived.
type Runspace struct {
	ID           RunspaceID
	Organization OrganizationID
	Name         string // may be empty; unique among the organization's open runspaces when set
	Owner        UserID
	Runtime      RuntimeID
	RuntimeName  string
	Generation   int
	Instance     InstanceID // "" until ready
	State        RunspaceState
	Error        string        // why State is error, or why it was closed
	IdleTimeout  time.Duration // closed after this long without an execution; 0 is never
	Env          map[string]string
	InitScript   string
	LastUsedAt   time.Time
	CreatedAt    time.Time
	EndedAt      *time.Time
}

// RunspaceRequest asks for a new runspace.
type RunspaceRequest struct {
	Runtime     string // id or name
	Name        string
	IdleTimeout *time.Duration // nil is the server's default
	Env         map[string]string
	InitScript  string // runs before the runspace is ready; its failure is the runspace's error
}

// FileInfo describes one entry of a runspace's workspace.
type FileInfo struct {
	Path       string // relative to the workspace, slash-separated
	Size       int64  // bytes
	Mode       fs.FileMode
	ModifiedAt time.Time
}
