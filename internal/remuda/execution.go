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
	Name     string // shown with it; at most 255 bytes
	// Queue lets it wait for its turn in a runspace that is busy.
	Queue bool
	// Streams has the language's logging and warnings kept as streams of their own.
	Streams bool
	// Objects has what the script evaluates to kept as objects.
	Objects bool
	// ParameterScripts run before the script, in order, in the same interpreter;
	// what each evaluates to is the parameter of its name. Only in a runspace.
	ParameterScripts []ParameterScript
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

// ParameterScript is a script whose value becomes a parameter.
type ParameterScript struct {
	Name   string
	Script string
	Value  json.RawMessage // what the script sees as argument; nil is nothing
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
	Name        string
	System      bool // the server ran it by itself, such as a connection script
	Objects     bool // its objects were asked for
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
	// StreamInformation and the next four have what a language's own logging says,
	// when Streams was asked for. A record is one message.
	StreamInformation Stream = "information"
	StreamError       Stream = "error"
	StreamWarning     Stream = "warning"
	StreamDebug       Stream = "debug"
	StreamVerbose     Stream = "verbose"
	// StreamObject has one JSON text in each record, when Objects was asked for.
	StreamObject Stream = "object"
)

// MessageStreams lists the streams of messages.
func MessageStreams() []Stream {
	return []Stream{StreamInformation, StreamError, StreamWarning, StreamDebug, StreamVerbose}
}

// OutputRecord is a numbered piece of output. Numbers start at 1 and have no gaps.
type OutputRecord struct {
	Seq    int64
	Stream Stream
	Data   []byte
	At     time.Time // when the server got it; zero where that was not noted
}

// StreamRecord is one message of a stream.
type StreamRecord struct {
	Seq     int64 // of the output record that it was in; not unique
	Time    time.Time
	Message string
}

// StreamPage asks for messages: those after a number, or the last ones.
type StreamPage struct {
	After int64
	Last  int // not 0: only so many of the newest
	Max   int // 0 is 1,000
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
	Owner    UserID
	NoSystem bool // leaves out what the server ran by itself
	// InRunspace leaves out one-shot executions.
	InRunspace bool
}

// RunspaceFilter narrows a list of runspaces; zero fields do not.
type RunspaceFilter struct {
	State   RunspaceState
	Runtime RuntimeID
	Owner   UserID
}
