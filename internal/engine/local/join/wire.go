package join

import (
	"encoding/binary"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// Arg is the argument with which remuda-init is the joiner.
const Arg = "join"

// Descriptors that the server leaves the joiner.
const (
	SocketFD = 3 // one end of a socketpair of type SOCK_SEQPACKET
	TargetFD = 4 // pidfd of a process of the sandbox
	PlanFD   = 5 // memfd that holds the Plan as JSON
)

// Plan says what is to run in the sandbox, and as whom.
type Plan struct {
	UID  int `json:"uid"` // inside the sandbox
	GID  int `json:"gid"`
	Rows int `json:"rows"`
	Cols int `json:"cols"`
	// Argv begins with a path inside the sandbox, or with a name that is looked
	// for in PATH.
	Argv []string `json:"argv"`
	Path []string `json:"path"` // directories for that
	Env  []string `json:"env"`
	Dir  string   `json:"dir"`
	// Limits are set before the sandbox is entered.
	Limits []protocol.Rlimit `json:"limits"`
	// Filter is the instance's system call filter.
	Filter []byte `json:"filter"`
}

// What is said on the socket: one byte, then what belongs to it. The socket's end
// says that the program runs.
const (
	SaysGuest    = 'p' // joiner: a pidfd of the process that will enter
	SaysTerminal = 'm' // that process: the server's end of the terminal
	SaysProgram  = 'c' // that process: a pidfd of the process that will be the program
	SaysFailed   = 'e' // joiner: a text; the others: number of the step, error number
	TellAdmitted = 'a' // server: the process is in its cgroup
	TellGo       = 'g' // server: it knows the program's process
)

// Failure takes apart what a process says after SaysFailed, if it is not text.
func Failure(p []byte) (step, errno int, ok bool) {
	if len(p) != failureSize {
		return 0, 0, false
	}
	return int(binary.NativeEndian.Uint32(p)), int(binary.NativeEndian.Uint32(p[4:])), true
}

const failureSize = 8
