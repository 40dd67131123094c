package seccomp

import "golang.org/x/sys/unix"

// Action is what the filter answers: a seccomp return value.
type Action uint32

// Allow lets the call through.
const Allow Action = unix.SECCOMP_RET_ALLOW

// Errno refuses the call with an error number.
func Errno(e uint32) Action { return Action(unix.SECCOMP_RET_ERRNO | e&unix.SECCOMP_RET_DATA) }

var (
	notThere = Errno(uint32(unix.ENOSYS))
	refused  = Errno(uint32(unix.EPERM))
	invalid  = Errno(uint32(unix.EINVAL))
	noFamily = Errno(uint32(unix.EAFNOSUPPORT))
)

// call is a system call of one machine.
type call struct {
	name   string
	number uint32
}

// condition compares the low half of an argument, under a mask. The kernel takes
// all arguments that are looked at here as 32-bit numbers.
type condition struct {
	arg   int
	mask  uint32 // 0 is all bits
	value uint32
	not   bool // must differ
}

// clause is an action for the calls that fulfil all its conditions.
type clause struct {
	when []condition
	do   Action
}

// rule is looked through from the top.
type rule struct {
	clauses   []clause
	otherwise Action
}

// newNamespaces are the clone flags that make namespaces. CLONE_NEWTIME is not
// among them: for clone its bit is part of the exit signal.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// is makes one clause for each value that arg may have.
func is(arg int, do Action, values ...uint32) []clause {
	clauses := make([]clause, len(values))
	for i, v := range values {
		clauses[i] = clause{when: []condition{{arg: arg, value: v}}, do: do}
	}
	return clauses
}

// anyBit matches when one of the bits of mask is set.
func anyBit(arg int, mask uint32, do Action) clause {
	return clause{when: []condition{{arg: arg, mask: mask, value: 0, not: true}}, do: do}
}

// rules are the calls whose arguments decide.
func rules() map[string]rule {
	return map[string]rule{
		"clone":      {clauses: []clause{anyBit(0, newNamespaces, refused)}, otherwise: Allow},
		"unshare":    {clauses: []clause{anyBit(0, newNamespaces|unix.CLONE_NEWTIME, refused)}, otherwise: Allow},
		"socket":     {clauses: socketClauses(), otherwise: noFamily},
		"socketpair": {clauses: is(0, Allow, unix.AF_UNIX), otherwise: noFamily},
		// Terminal injection, the console's selection buffer and line disciplines.
		"ioctl":       {clauses: is(1, refused, unix.TIOCSTI, unix.TIOCLINUX, unix.TIOCSETD), otherwise: Allow},
		"personality": {clauses: is(0, Allow, 0, 0xffffffff), otherwise: refused},
		"prctl":       {clauses: is(0, Allow, prctlOptions...), otherwise: invalid},
		"mknod":       {clauses: nodeClauses(1), otherwise: refused},
		"mknodat":     {clauses: nodeClauses(2), otherwise: refused},
	}
}

const (
	socketType = 0xf // the bits of socket's second argument that are the type
	icmp4      = 1
	tcp        = 6
	udp        = 17
)

// socketClauses allow stream and datagram sockets of the ordinary families with
// the ordinary protocols, and the questions about routes and addresses that libc
// asks over netlink.
func socketClauses() []clause {
	clauses := is(0, Allow, unix.AF_UNIX)
	for _, family := range []uint32{unix.AF_INET, unix.AF_INET6} {
		for _, kind := range []uint32{unix.SOCK_RAW, unix.SOCK_PACKET, unix.SOCK_RDM, unix.SOCK_SEQPACKET, unix.SOCK_DCCP} {
			clauses = append(clauses, clause{when: []condition{{arg: 0, value: family}, {arg: 1, mask: socketType, value: kind}}, do: refused})
		}
		for _, protocol := range []uint32{0, tcp, udp} {
			clauses = append(clauses, clause{when: []condition{{arg: 0, value: family}, {arg: 2, value: protocol}}, do: Allow})
		}
		// Among them ICMP over a datagram socket.
		clauses = append(clauses, is(0, refused, family)...)
	}
	clauses = append(clauses, clause{when: []condition{{arg: 0, value: unix.AF_NETLINK}, {arg: 2, value: unix.NETLINK_ROUTE}}, do: Allow})
	return append(clauses, is(0, refused, unix.AF_PACKET)...)
}

// nodeClauses allow what needs no privilege; arg is the mode.
func nodeClauses(arg int) []clause {
	var clauses []clause
	for _, kind := range []uint32{0, unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK} {
		clauses = append(clauses, clause{when: []condition{{arg: arg, mask: unix.S_IFMT, value: kind}}, do: Allow})
	}
	return clauses
}

// prctlOptions may be used: names, signals, questions, and what only tightens.
var prctlOptions = []uint32{
	unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_SET_PDEATHSIG, unix.PR_GET_PDEATHSIG,
	unix.PR_GET_DUMPABLE, unix.PR_SET_DUMPABLE, unix.PR_GET_KEEPCAPS, unix.PR_CAPBSET_READ,
	unix.PR_GET_SECCOMP, unix.PR_GET_NO_NEW_PRIVS, unix.PR_SET_NO_NEW_PRIVS, unix.PR_GET_SECUREBITS,
	unix.PR_SET_TIMERSLACK, unix.PR_GET_TIMERSLACK, unix.PR_GET_CHILD_SUBREAPER, unix.PR_SET_CHILD_SUBREAPER,
	unix.PR_GET_TID_ADDRESS, unix.PR_GET_THP_DISABLE, unix.PR_SET_THP_DISABLE, unix.PR_GET_SPECULATION_CTRL,
	unix.PR_SVE_GET_VL, unix.PR_PAC_RESET_KEYS, unix.PR_GET_TAGGED_ADDR_CTRL, unix.PR_CAP_AMBIENT, unix.PR_SET_VMA,
}
