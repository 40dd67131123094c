package remuda

import (
	"encoding/json"
	"time"
)

// KilledBy says what ended a script that did not end by itself, or which limit
// made it fail.
type KilledBy string

// What can kill a script.
const (
	KilledByNothing KilledBy = ""
	KilledByTime    KilledBy = "time"
	KilledByMemory  KilledBy = "memory"
	KilledByPids    KilledBy = "pids"
	KilledByDisk    KilledBy = "disk"
	KilledByOutput  KilledBy = "output"
	KilledByCancel  KilledBy = "cancel"
	KilledByPolicy  KilledBy = "policy"
)

// Limits of one execution request that are the same for every runtime.
const (
	DefaultOutputLimit = 10 << 20 // bytes of stdout and stderr kept
	MaxScriptBytes     = 8 << 20
	MaxStdinBytes      = 16 << 20
	MaxFileBytes       = 64 << 20 // one file through the files API or with a request
)

// ExecutionRequest asks for one script run. Exactly one of Runspace and Runtime
// is set, and exactly one of Script and CodeFile.
type ExecutionRequest struct {
	Runspace   RunspaceID // stateful run there
	Runtime    string     // id or name: one-shot on a fresh instance
	Script     string
	CodeFile   string                     // path in the workspace
	Args       []string                   // sys.argv[1:], process.argv.slice(2), "$@"
	Parameters map[string]json.RawMessage // JSON values bound to names
	Stdin      []byte
	Env        map[string]string
	Timeout    time.Duration // 0 is the runtime's; never above it
	Files      []File        // written to the workspace first
	// Limits narrows the runtime's resources for a one-shot execution; fields
	// that are 0 stay the runtime's. Above the runtime's is an error.
	Limits Resources
	// Egress narrows the runtime's egress for a one-shot execution; nil leaves it.
	Egress *Egress
	// Identity says for whom the script runs; the script sees it.
	Identity *Identity
	// IdempotencyKey makes a second request of the same user with the same key the
	// same execution; "" is none.
	IdempotencyKey string
}

// Narrows reports whether the execution asks for less than its runtime gives.
func (r *ExecutionRequest) Narrows() bool { return r.Limits != (Resources{}) || r.Egress != nil }

// EnvIdentity is the variable in which a script finds its Identity, as JSON. No
// definition or request can set it.
const EnvIdentity = "REMUDA_IDENTITY"

// Identity is for whom a script runs, as the caller says: a user of the calling
// application, say. It gives no rights here.
type Identity struct {
	Subject string            `json:"subject,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
}

// File is a file to be placed in the workspace before a run.
type File struct {
	Path    string // relative to the workspace
	Content []byte
}

// Execution is one script run and, once it has ended, its result.
type Execution struct {
	ID           ExecutionID
	Organization OrganizationID
	Owner        UserID
	Runtime      RuntimeID
	RuntimeName  string
	Runspace     RunspaceID // "" for one-shot
	Instance     InstanceID // "" until started
	Generation   int
	Fresh        bool // the instance was never used before this execution
	Warm         bool // the instance was ready before the request came
	// Narrowed names what the request lowered below its runtime's: "cpu",
	// "memory_mb", "disk_mb", "pids", "egress".
	Narrowed []string
	// ColdReason says what of the request kept it from a warm instance; "" when
	// nothing did.
	ColdReason  string
	State       ExecutionState
	ExitCode    *int   // of the script, once it ended by itself
	Value       *Value // last expression or returned value; nil if none
	Error       *ScriptError
	KilledBy    KilledBy
	Reason      string // one sentence for a state other than success
	Usage       Usage
	Timings     Timings
	OutputBytes int64 // kept
	OutputCut   int64 // bytes that were cut at the output limit
	CreatedAt   time.Time
	StartedAt   *time.Time
	EndedAt     *time.Time
}

// Value is what a script evaluated to.
type Value struct {
	JSON json.RawMessage   `json:"json,omitempty"` // nil when it has no JSON form
	Text string            `json:"text"`
	Rich map[string]string `json:"rich,omitempty"` // media type -> base64 data ("image/png")
}

// ScriptError is an exception that the script did not handle.
type ScriptError struct {
	Type      string `json:"type"`
	Message   string `json:"message"`
	Traceback string `json:"traceback"` // with the user's own line numbers only
}

// Usage is what an execution used.
type Usage struct {
	CPU        time.Duration
	Wall       time.Duration
	PeakMemory int64 // bytes, of the whole instance
}

// Timings is how long each stage took, by stage name. The names: "queue"
// (accepted to lease), "lease" (getting an instance, cold starts included),
// "send", "run" (inside the sandbox), "record", "total"; of a cold start also
// "create", "fence" and "interpreter".
type Timings map[string]time.Duration

// Stream says where output bytes were written.
type Stream string

// The streams.
const (
	StreamStdout Stream = "stdout"
	StreamStderr Stream = "stderr"
)

// OutputRecord is a numbered piece of output. Numbers start at 1 and have no gaps.
type OutputRecord struct {
	Seq    int64
	Stream Stream
	Data   []byte
}

// OutputPage is a piece of an execution's output.
type OutputPage struct {
	Records   []OutputRecord
	Next      int64 // give as "after" to go on
	Truncated bool  // the execution wrote more than the limit
	Cut       int64 // bytes that were not kept
	Ended     bool  // no more records will come
}

// ExecutionFilter narrows a list of executions; zero fields do not.
type ExecutionFilter struct {
	Runspace RunspaceID
	Runtime  RuntimeID
	State    ExecutionState
}

// RunspaceFilter narrows a list of runspaces; zero fields do not.
type RunspaceFilter struct {
	State   RunspaceState
	Runtime RuntimeID
	Owner   UserID
}
