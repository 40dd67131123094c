package engine

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Engine makes sandboxes on one machine.
type Engine interface {
	// Name is the engine's word in the settings ("local").
	Name() string
	// Check tries every mechanism that instances need and returns one Finding
	// for each, in a fixed order. It changes nothing that it does not undo.
	Check(ctx context.Context) []Finding
	// Recover takes over those instances of an earlier server with the same data
	// directory that keep names, and clears away every other sandbox, cgroup and
	// file that it left. Of a Spec in keep, ID says which instance is meant, and the
	// rest what the server knows of it. Call it once, before Create.
	Recover(ctx context.Context, keep []Spec) (Recovered, error)
	// Create makes an instance whose interpreter is started and waits for its
	// first execution. On error nothing is left of it.
	Create(ctx context.Context, spec Spec) (Instance, error)
	// Versions lists the interpreters an environment has for a language, newest
	// first; the first is the default.
	Versions(ctx context.Context, environment string, language remuda.Language) ([]Interpreter, error)
	// Close destroys every instance that was not detached, and releases what the engine
	// holds.
	Close(ctx context.Context) error
}

// Recovered is what an engine has done about an earlier server's instances.
type Recovered struct {
	Attached []Instance                   // that live on; each is a Resumer
	Ended    []remuda.InstanceID          // that nobody wanted
	Lost     map[remuda.InstanceID]string // that were wanted and are not there, and why
}

// LoseAll says of every wanted instance that it is lost, for one reason.
func LoseAll(keep []Spec, reason string) map[remuda.InstanceID]string {
	lost := make(map[remuda.InstanceID]string, len(keep))
	for _, spec := range keep {
		lost[spec.ID] = reason
	}
	return lost
}

// Finding is the outcome of one check of the machine.
type Finding struct {
	Name string `json:"name"` // "user namespaces"
	// Optional says that the server starts without it.
	Optional bool   `json:"optional,omitempty"`
	OK       bool   `json:"ok"`
	Detail   string `json:"detail,omitempty"` // what was seen
	Remedy   string `json:"remedy,omitempty"` // what to do when not OK
}

// Interpreter is one interpreter found in an environment.
type Interpreter struct {
	Language remuda.Language
	Version  string // "3.11.2"
	Path     string // inside the sandbox
}

// Spec is what an instance is made from.
type Spec struct {
	ID          remuda.InstanceID
	Generation  remuda.GenerationKey
	Language    remuda.Language
	Version     string
	Environment string
	Isolation   remuda.Isolation // "" is IsolationProcess
	Resources   remuda.Resources
	Env         map[string]string
	// Preload lists modules that a template of this generation imports.
	Preload []string
	Egress  remuda.Egress
	// Layers are directories of the machine that the instance has read-only, in
	// this order. They do not change while an instance or a template has them.
	Layers []Layer
	// Background says that nobody waits for the instance: until its first
	// execution it gives way to others on a busy processor.
	Background bool
	// Last says that it comes last from the beginning: Laster.
	Last bool
	// Workspace is copied into the new instance's workspace; nil is nothing.
	Workspace Workspace
	// Linger is how long the sandbox outlives its server's connection before it
	// ends itself; 0 ends it at once.
	Linger time.Duration
}

// Layer is a directory of installed packages. Its subfolders say where they
// belong: "python" is on the interpreter's module path, "node" holds a
// node_modules that every script finds, "bin" is on the PATH, and "usr" is laid
// over the environment's /usr.
type Layer struct {
	ID   remuda.LayerID
	Path string // absolute, on the machine
}

// Listener is an Instance on whose loopback the server can listen: what runs
// inside can connect to it, nothing else can, and no network is needed.
type Listener interface {
	// Listen opens a TCP port of 127.0.0.1 inside the sandbox; port 0 chooses
	// one. It ends with the instance or when it is closed.
	Listen(ctx context.Context, port int) (net.Listener, error)
}

// Retirer is an Engine that keeps something for a generation between its
// instances, such as a template.
type Retirer interface {
	// Retire lets go of it. Instances live on; creating another one of that
	// generation afterwards is allowed, only slower.
	Retire(key remuda.GenerationKey)
}

// Resumer is an Instance that an earlier server has made.
type Resumer interface {
	// Pending is the execution that runs, or has ended without our knowing, and the
	// number of the first output record that comes again; ok is false when there is
	// none. Until it was resumed or dropped, Execute is a conflict.
	Pending() (id remuda.ExecutionID, first int64, ok bool)
	// Resume goes on with it. It is as Execute for req, whose script does not matter;
	// records up to after are not given again. The time limit of req counts from when
	// the script began. It tells the end also when the sandbox has ended since.
	Resume(ctx context.Context, req Request, after int64, sink Sink) (Result, error)
	// Drop interrupts it and throws away what it says. A script that does not heed
	// that ends with its sandbox.
	Drop(ctx context.Context) error
}

// ErrDetached is in the error of everything that is asked of an Instance after its
// Detach, and of the Execute that ran then.
var ErrDetached = errors.New("the instance is detached")

// Detacher is an Instance that can outlive its server.
type Detacher interface {
	// Detach lets go of it: from here on only its linger time bounds its life, and
	// Close of its engine leaves it alone. Every other call fails afterwards, also
	// Destroy, and Done is not closed. What runs goes on without us: its Execute
	// returns an error with ErrDetached. An instance without a linger time, or of a
	// class that cannot, is not detached.
	Detach(ctx context.Context) error
}

// Acknowledger is an Instance that holds output until somebody has stored it.
type Acknowledger interface {
	// Acknowledge says that the output of an execution with Request.HoldOutput is
	// safe up to a number. A number above the last record's says so of its end too,
	// which the next Execute says otherwise.
	Acknowledge(id remuda.ExecutionID, seq int64)
}

// Workspacer is an Instance whose workspace can be handed on.
type Workspacer interface {
	// Workspace pins the files of the workspace, also beyond the end of the sandbox.
	Workspace(ctx context.Context) (Workspace, error)
}

// Workspace is what an instance left. Spec.Workspace copies it into a new one.
type Workspace interface {
	Close() error
}

// Terminaler is an Instance in which terminals can be opened.
type Terminaler interface {
	// OpenTerminal starts a program with a terminal of its own in the sandbox, in
	// the same fence as scripts. It ends with the sandbox, or with us.
	OpenTerminal(ctx context.Context, spec TerminalSpec) (Terminal, error)
}

// TerminalSpec says what runs in a terminal.
type TerminalSpec struct {
	Command    []string // empty is the language's interactive interpreter
	Env        map[string]string
	Rows, Cols int
}

// Terminal is the server's end of a terminal. Close ends its program; an error
// of code deadline says that it was killed, has not ended for seconds, and may do so yet.
type Terminal interface {
	io.ReadWriteCloser
	Resize(rows, cols int) error
	// Done is closed when the program has ended.
	Done() <-chan struct{}
	// ExitCode is the program's, 128 and the signal's number if one ended it;
	// meaningful once Done is closed.
	ExitCode() int
}

// Weigher is an Instance that knows its weight.
type Weigher interface {
	// Memory is how many bytes of memory the instance has to itself now: what
	// would be free if it ended. It is cheap, and 0 when it is not known.
	Memory() int64
}

// Yielder is an Engine whose instances can give way, all together, to the rest of
// the machine.
type Yielder interface {
	// Yield makes them do so, or not any more: the server, and what it does for
	// others, comes before what runs in sandboxes. It can be called at any time.
	Yield(on bool)
}

// Sharer is an Instance that can be given less of a busy processor than others.
type Sharer interface {
	// Share says that the instance is one of so many of one organization, which
	// together have as much of a busy processor as one instance of another. It is
	// in force from the next execution on.
	Share(among int)
}

// Laster is an Instance that can come last on a busy processor.
type Laster interface {
	// Last has it run only where no other instance wants the processor, or not any
	// more. It is in force at once, and can be called at any time.
	Last(on bool)
	// Burned is how much processor time the instance has used; 0 when it is not
	// known. It is cheap.
	Burned() time.Duration
}

// Narrower is an Instance whose fence can be narrowed while it waits or runs.
type Narrower interface {
	// Narrow lowers the limits that are not 0. It fails, and changes nothing,
	// where a limit cannot be lowered on an instance that exists.
	Narrow(ctx context.Context, limits remuda.Resources) error
	// SetEgress replaces what may be reached. Connections to what may not be
	// reached any more are cut within a second.
	SetEgress(ctx context.Context, egress remuda.Egress) error
}

// Instance is one sandbox with one interpreter. It runs one execution at a time;
// Files, Interrupt and Destroy may be called at any time.
type Instance interface {
	ID() remuda.InstanceID
	// Timings says how long each stage of creation took.
	Timings() remuda.Timings
	// Alive reports whether the instance could take an execution now. It asks
	// the kernel, not a cached flag, and does not block.
	Alive() bool
	// Done is closed when the sandbox has ended, for whatever reason.
	Done() <-chan struct{}
	// Exit says why the sandbox ended; meaningful once Done is closed.
	Exit() Exit
	// Execute runs a script to its end. Output goes to sink as it comes; sink
	// may block, which in time blocks the script's writes. The error is for
	// what went wrong around the script; how the script ended is in Result.
	// Canceling ctx kills the whole sandbox.
	Execute(ctx context.Context, req Request, sink Sink) (Result, error)
	// Interrupt sends SIGINT to what runs now and, if it has not ended after
	// grace, SIGKILLs the whole sandbox. by says what the result will name.
	Interrupt(ctx context.Context, by remuda.KilledBy, grace time.Duration) error
	// SetLinger changes Spec.Linger.
	SetLinger(ctx context.Context, d time.Duration) error
	// Files gives access to the workspace.
	Files() Files
	// Destroy kills everything in the sandbox and removes all that it had on
	// the machine. It returns once nothing is left. It may be called twice.
	Destroy(ctx context.Context) error
}

// Sink takes output records in order.
type Sink func(remuda.OutputRecord) error

// Request is one script run.
type Request struct {
	ID          remuda.ExecutionID
	Script      string
	CodeFile    string // path in the workspace, instead of Script
	Name        string // shown in tracebacks and as argv[0]; "" is the driver's default
	Args        []string
	Parameters  map[string]json.RawMessage
	Stdin       []byte
	Env         map[string]string // for this run only
	Timeout     time.Duration     // wall clock; 0 is none
	OutputLimit int64             // bytes kept; 0 is remuda.DefaultOutputLimit
	// Assign is the name that gets the script's value, instead of its being told.
	Assign string
	// Scratch are names that are unbound when the script has ended.
	Scratch []string
	// Streams and Objects have messages and objects kept as records of their own.
	Streams, Objects bool
	// HoldOutput has output acknowledged by Acknowledge only.
	HoldOutput bool
	// KillOnTimeout kills the sandbox when time runs out; otherwise the script
	// is interrupted first and the sandbox may survive.
	KillOnTimeout bool
}

// Result is how a script ended.
type Result struct {
	State     remuda.ExecutionState // success, error, timeout, canceled or lost
	ExitCode  *int
	Value     *remuda.Value
	Error     *remuda.ScriptError
	KilledBy  remuda.KilledBy
	Reason    string
	Usage     remuda.Usage
	Timings   remuda.Timings
	LastSeq   int64 // of the last output record
	OutputCut int64
	// Dead says that the instance cannot run anything more.
	Dead bool
	// Unstarted says that the script has not begun and never will here, so that it
	// can be run elsewhere. It may come with an error of Execute.
	Unstarted bool
}

// Exit says why a sandbox ended.
type Exit struct {
	KilledBy remuda.KilledBy
	Reason   string
	Usage    remuda.Usage
}

// Files is the workspace of an instance. Paths are relative and
// slash-separated; no path and no link leads outside. Errors are
// *remuda.Error: not_found, invalid (a path that leaves, a name that is no
// regular file), too_large (over limit or the disk quota is full).
type Files interface {
	Read(ctx context.Context, path string, limit int64) (remuda.FileInfo, io.ReadCloser, error)
	Write(ctx context.Context, path string, content io.Reader, limit int64) (remuda.FileInfo, error)
	List(ctx context.Context, path string, max int) ([]remuda.FileInfo, error)
	Remove(ctx context.Context, path string) error
}

// ContextCode is the code of the error about a context that has ended.
func ContextCode(ctx context.Context) remuda.Code {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return remuda.CodeDeadline
	}
	return remuda.CodeCanceled
}
