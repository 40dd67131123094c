package remuda

import (
	"io/fs"
	"log/slog"
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

	ErrorCode     Code          // of Error; "" when there is none
	ActiveTimeout time.Duration // a script that runs longer ends the runspace; 0 is never
	// OwnIdleTimeout and OwnActiveTimeout say that it asked for them; otherwise they
	// follow its organization's limits.
	OwnIdleTimeout   bool
	OwnActiveTimeout bool
	MemoryMB         int // its own limit; 0 is the runtime's
	// Session is the token of the session that it ends with, "" when it belongs to
	// none.
	Session TokenID
	// RunConnection says that a connection script runs before it is ready, as
	// ConnectionExecution, and a disconnect script when it closes.
	RunConnection       bool
	ConnectionExecution ExecutionID
	ConnectionScript    string // stored scripts by id or name; "" is the runtime's
	DisconnectScript    string
	HadCredentials      bool   // its connection script has, and has to have them for a reset
	ConnectionName      string // what their executions are called
	DisconnectName      string
	Resets              int // how often it got a fresh instance
	// Label is a name that need not be unique, for doors whose names are such.
	Label string
	// Dismissed says of one in error that its owner has taken note: doors whose
	// deleted runspaces vanish show it no more.
	Dismissed bool
	Console   bool // a door made it for one terminal, and shows it as that only
}

// Connects reports whether a connection script runs in it: it was asked for, and
// there is one.
func (r Runspace) Connects() bool { return r.RunConnection && r.ConnectionScript != "" }

// RunspaceRequest asks for a new runspace.
type RunspaceRequest struct {
	Runtime     string // id or name
	Name        string
	IdleTimeout *time.Duration // nil is the server's default
	Env         map[string]string
	InitScript  string // runs before the runspace is ready; its failure is the runspace's error

	ActiveTimeout    *time.Duration // nil is the organization's
	MemoryMB         int            // 0 is the organization's or the runtime's
	Session          TokenID        // ends with this session, when nothing runs in it
	Label            string         // at most 255 bytes; need not be unique
	Console          bool
	RunConnection    bool
	ConnectionIfAny  bool   // with RunConnection: that there is no script is no error
	ConnectionScript string // stored scripts by id or name; "" is the runtime's
	DisconnectScript string
	// ConnectionName and DisconnectName are what their executions are called; ""
	// is "connection" and "disconnect".
	ConnectionName, DisconnectName string
	// Credentials are what the connection script gets as its parameter credentials.
	// They are neither stored nor logged, and gone when it has ended.
	Credentials Credentials
}

// Credentials are a caller's, passed on to one script. They show nothing when
// they are printed or logged.
type Credentials map[string]string

// String implements fmt.Stringer.
func (Credentials) String() string { return "[credentials]" }

// GoString implements fmt.GoStringer.
func (Credentials) GoString() string { return "[credentials]" }

// LogValue implements slog.LogValuer.
func (Credentials) LogValue() slog.Value { return slog.StringValue("[credentials]") }

// FileInfo describes one entry of a runspace's workspace.
type FileInfo struct {
	Path       string // relative to the workspace, slash-separated
	Size       int64  // bytes
	Mode       fs.FileMode
	ModifiedAt time.Time
}
