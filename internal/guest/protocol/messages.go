package protocol

import (
	"encoding/binary"
	"encoding/json"
	"errors"
)

// Type says what a frame carries.
type Type byte

// Frames from the server to the keeper.
const (
	TypeHello     Type = 1  // Hello; first frame of every connection
	TypeSetup     Type = 2  // Setup; once, builds the sandbox and starts the driver
	TypeExecute   Type = 3  // Execute
	TypeInterrupt Type = 4  // Interrupt
	TypeAck       Type = 5  // Ack
	TypeFile      Type = 6  // FileRequest
	TypeFileData  Type = 7  // binary, both ways: see FileData
	TypeLinger    Type = 8  // Linger
	TypeFork      Type = 9  // Fork; after Hello, on a connection of its own to a template's keeper
	TypePrepare   Type = 10 // Prepare; after Forked, at most once, when Setup is not to follow at once
	TypeAttach    Type = 11 // Attach; after Hello, on a connection of its own to a template's keeper
)

// Frames from the keeper to the server.
const (
	TypeState     Type = 65 // State; the answer to Hello, and to Attach
	TypeReady     Type = 66 // Ready; the answer to Setup
	TypeFailed    Type = 67 // Failed; Hello or Setup could not be done
	TypeOutput    Type = 68 // binary: see Output
	TypeEnd       Type = 69 // End of an execution
	TypeFileReply Type = 70 // FileReply
	TypeForked    Type = 71 // Forked; the answer to Fork, with a pidfd
)

// Hello opens a connection. A newer connection replaces an older one.
type Hello struct {
	Version int `json:"version"`
}

// State answers Hello and Attach. What is held of its execution follows.
type State struct {
	Version   int    `json:"version"`
	Ready     bool   `json:"ready"`                // Setup is done and the interpreter waits or runs
	LingerMS  int64  `json:"linger_ms"`            // how long the keeper will outlive this connection
	Execution string `json:"execution,omitempty"`  // id of what runs now, or has ended and is not acknowledged
	NextSeq   int64  `json:"next_seq,omitempty"`   // of the oldest record that is still held
	ElapsedUS int64  `json:"elapsed_us,omitempty"` // how long it runs, or has run
	Mark      Mark   `json:"mark"`                 // as its Execute had it
}

// Mark is what the server has counted of a sandbox when an execution began. The
// keeper only keeps it, for a later server, which needs it to tell what the
// execution has used.
type Mark struct {
	CPUNS    int64  `json:"cpu_ns"`
	OOMKills uint64 `json:"oom_kills"`
	PidsMax  uint64 `json:"pids_max"`
}

// Attach asks a template's keeper for an instance that it has forked before. The
// connection is that instance's from then on, in place of the one it had; State
// answers.
type Attach struct {
	User int `json:"user"` // as Forked told it
}

// Setup tells a keeper what sandbox to build. It runs with the capabilities of
// its own user namespace at that moment and loses them while it answers.
type Setup struct {
	Hostname string `json:"hostname"`
	// Prepared says that the root is the one that the launcher has prepared;
	// then Root, Driver and DriverPath are empty.
	Prepared bool `json:"prepared,omitempty"`
	Root
	Mask     []string `json:"mask"` // absolute paths covered by an empty file or directory
	ReadOnly []string `json:"read_only"`
	// DiskBytes and DiskInodes bound the one writable file system (workspace,
	// /tmp, /var/tmp, /dev/shm). With DiskFD it is the mount passed as the
	// first descriptor with this frame; without, a tmpfs.
	DiskBytes  int64 `json:"disk_bytes"`
	DiskInodes int64 `json:"disk_inodes"`
	DiskFD     bool  `json:"disk_fd,omitempty"`
	// Mounts says where the detached mounts go that come with this frame after the
	// disk's, in order: read-only file systems that the server has made. A
	// contained keeper has none.
	Mounts     []string          `json:"mounts,omitempty"`
	UID        int               `json:"uid"` // of the interpreter, inside the user namespace
	GID        int               `json:"gid"`
	Argv       []string          `json:"argv"`   // of the driver
	Driver     []byte            `json:"driver"` // the driver's program, placed at DriverPath before Argv is run
	DriverPath string            `json:"driver_path"`
	Language   string            `json:"language"`
	Env        map[string]string `json:"env"`
	Cwd        string            `json:"cwd"`
	Limits     []Rlimit          `json:"limits"`
	Seccomp    []byte            `json:"seccomp"` // classic BPF program, native byte order, 8 bytes an instruction
	LingerMS   int64             `json:"linger_ms"`
	// Template makes the sandbox a template: its interpreter runs no script, but
	// instances are forked from it. Nil for an instance. For an instance that was
	// forked only DiskFD, with its mount, and LingerMS mean anything.
	Template *Template `json:"template,omitempty"`
}

// Template says what a template imports and what its children lose.
type Template struct {
	Preload []string `json:"preload"` // modules, in order
	// Exec is the program and arguments of an instance's own interpreter, and
	// Language what that speaks. Without, an instance is a fork of the template's.
	Exec     []string `json:"exec,omitempty"`
	Language string   `json:"language,omitempty"`
	// Seccomp is the filter that a child adds to the template's: together they
	// are the one of every other instance.
	Seccomp []byte `json:"seccomp"`
	// Limits are those of an instance's interpreter that the template's must not
	// have: the kernel holds all children together to what the process that clones
	// them has of these.
	Limits []Rlimit `json:"limits,omitempty"`
}

// Fork asks a template's keeper for an instance. The connection that it comes on
// is that instance's from then on; Setup follows once the server has put the
// process in its place.
type Fork struct{}

// Prepare lets a forked process that is in its cgroup build what is the same for
// all instances of its template, before anybody needs it.
type Prepare struct{}

// Forked answers Fork. The instance's first process waits, in namespaces of its
// own, for Setup. A pidfd of it comes with the frame.
type Forked struct {
	// User is what the first process's user 0 is in the template's user
	// namespace; 1000 is the number after it.
	User int `json:"user"`
}

// Rlimit is one resource limit of the interpreter, soft and hard alike.
type Rlimit struct {
	Resource int    `json:"resource"`
	Value    uint64 `json:"value"`
}

// Ready answers Setup.
type Ready struct {
	TimingsUS map[string]int64 `json:"timings_us"` // "fence", "interpreter"
	Version   string           `json:"version"`    // the interpreter's own word
}

// Failed says why a Hello or Setup could not be done. The keeper exits after it.
type Failed struct {
	Stage string `json:"stage"`
	Error string `json:"error"`
}

// Execute starts a script. The keeper answers with Output frames and one End.
type Execute struct {
	ID            string                     `json:"id"`
	Script        string                     `json:"script,omitempty"`
	CodeFile      string                     `json:"code_file,omitempty"`
	Name          string                     `json:"name,omitempty"`
	Args          []string                   `json:"args,omitempty"`
	Parameters    map[string]json.RawMessage `json:"parameters,omitempty"`
	Stdin         []byte                     `json:"stdin,omitempty"`
	Env           map[string]string          `json:"env,omitempty"`
	TimeoutMS     int64                      `json:"timeout_ms,omitempty"` // 0 is none
	KillOnTimeout bool                       `json:"kill_on_timeout,omitempty"`
	OutputLimit   int64                      `json:"output_limit"`
	// Assign is the global that gets what the script evaluates to, which End then
	// does not tell. Scratch are globals that are unbound when the script has ended.
	Assign  string   `json:"assign,omitempty"`
	Scratch []string `json:"scratch,omitempty"`
	Streams bool     `json:"streams,omitempty"` // messages become records of streams 3 to 7
	Objects bool     `json:"objects,omitempty"` // what it evaluates to becomes records of stream 8
	Mark    Mark     `json:"mark"`
}

// Interrupt sends SIGINT to the interpreter and its foreground children and,
// after GraceMS, kills the sandbox if ID still runs. By is what End will say.
type Interrupt struct {
	ID      string `json:"id"`
	By      string `json:"by"`
	GraceMS int64  `json:"grace_ms"`
}

// Ack says that the server holds all records up to and including Seq of ID.
type Ack struct {
	ID  string `json:"id"`
	Seq int64  `json:"seq"`
}

// Linger changes how long the keeper outlives its connection.
type Linger struct {
	LingerMS int64 `json:"linger_ms"`
}

// End is how an execution ended. It comes after its last Output.
type End struct {
	ID        string            `json:"id"`
	State     string            `json:"state"` // success, error, timeout, canceled; lost if the script was never begun
	ExitCode  *int              `json:"exit_code,omitempty"`
	ValueJSON json.RawMessage   `json:"value_json,omitempty"`
	ValueText string            `json:"value_text,omitempty"`
	HasValue  bool              `json:"has_value,omitempty"`
	Rich      map[string]string `json:"rich,omitempty"`
	ErrType   string            `json:"err_type,omitempty"`
	ErrText   string            `json:"err_text,omitempty"`
	Traceback string            `json:"traceback,omitempty"`
	KilledBy  string            `json:"killed_by,omitempty"`
	Reason    string            `json:"reason,omitempty"`
	LastSeq   int64             `json:"last_seq"`
	OutputCut int64             `json:"output_cut,omitempty"`
	WallUS    int64             `json:"wall_us"`
	DiskFull  bool              `json:"disk_full,omitempty"` // the writable file system had no byte or inode left
	Dead      bool              `json:"dead,omitempty"`      // the interpreter is gone
}

// FileRequest asks for a file operation in the workspace. A write is followed by
// FileData frames with the same Req, the last of them empty; a read is answered
// by a FileReply and, if it is not an error, FileData frames, the last empty.
type FileRequest struct {
	Req   uint32 `json:"req"`
	Op    string `json:"op"` // read, write, list, remove
	Path  string `json:"path"`
	Limit int64  `json:"limit"` // bytes of a read or write, entries of a list
}

// FileReply answers a FileRequest. For a write it comes once, at the end or at
// the first error; data that follows an error is thrown away.
type FileReply struct {
	Req     uint32      `json:"req"`
	Code    string      `json:"code,omitempty"` // "", or an error code of package remuda
	Error   string      `json:"error,omitempty"`
	Entries []FileEntry `json:"entries,omitempty"` // of a list; one entry for the others
}

// FileEntry describes a file.
type FileEntry struct {
	Path    string `json:"path"`
	Size    int64  `json:"size"`
	Mode    uint32 `json:"mode"` // fs.FileMode bits
	MtimeUS int64  `json:"mtime_us"`
}

// FileChunk is the largest data of one FileData frame that our side sends.
const FileChunk = 256 << 10

// ErrShort is returned for a binary payload that is too short.
var ErrShort = errors.New("payload is too short")

// The streams of Output frames. A record of the first two is a piece of what was
// written, one of the others is whole: a message, or the JSON text of an object.
const (
	StreamStdout byte = iota + 1
	StreamStderr
	StreamInformation
	StreamWarning
	StreamError
	StreamDebug
	StreamVerbose
	StreamObject
)

// AppendOutput appends the payload of an Output frame: sequence number (8 bytes,
// big-endian), stream, data.
func AppendOutput(b []byte, seq int64, stream byte, data []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(seq))
	b = append(b, stream)
	return append(b, data...)
}

// ParseOutput splits the payload of an Output frame. data aliases p.
func ParseOutput(p []byte) (seq int64, stream byte, data []byte, err error) {
	if len(p) < 9 {
		return 0, 0, nil, ErrShort
	}
	return int64(binary.BigEndian.Uint64(p)), p[8], p[9:], nil
}

// AppendFileData appends the payload of a FileData frame: request number
// (4 bytes, big-endian), data.
func AppendFileData(b []byte, req uint32, data []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, req), data...)
}

// ParseFileData splits the payload of a FileData frame. data aliases p.
func ParseFileData(p []byte) (req uint32, data []byte, err error) {
	if len(p) < 4 {
		return 0, nil, ErrShort
	}
	return binary.BigEndian.Uint32(p), p[4:], nil
}

// MaxPTYs is how many pseudo-terminals a sandbox has.
const MaxPTYs = 32

// Workspace is the directory of a sandbox where scripts start and which the
// files operations see.
const Workspace = "/workspace"
