package attempts

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine/enginetest"
	"github.com/remuda-run/remuda/internal/engine/local/seccomp"
	"github.com/remuda-run/remuda/test/harness"
)

// rowOfCall names the row of the list of attempts by the first word of a call.
var rowOfCall = map[string]string{
	"unshare": "K01", "clone": "K01", "clone3": "K17", "setns": "K03",
	"mount": "K02", "umount": "K02", "pivot_root": "K02", "fsopen": "K02", "fsconfig": "K02", "fsmount": "K02", "fspick": "K02",
	"open_tree": "K02", "open_tree_attr": "K02", "move_mount": "K02", "mount_setattr": "K02", "chroot": "K16",
	"ptrace": "P07", "process_vm_readv": "P07", "process_vm_writev": "P07", "process_madvise": "P07", "pidfd_getfd": "P07", "kcmp": "P07",
	"add_key": "K08", "keyctl": "K08", "request_key": "K08", "bpf": "K04", "perf_event_open": "K05",
	"io_uring_setup": "K06", "io_uring_enter": "K06", "io_uring_register": "K06", "userfaultfd": "K07",
	"init_module": "K09", "finit_module": "K09", "delete_module": "K09", "kexec_load": "K09", "kexec_file_load": "K09",
	"reboot": "K10", "swapon": "K10", "swapoff": "K10", "acct": "K10", "quotactl": "K10", "quotactl_fd": "K10",
	"clock_settime": "K11", "settimeofday": "K11", "adjtimex": "K11", "clock_adjtime": "K11",
	"sethostname": "K12", "setdomainname": "K12", "iopl": "K13", "ioperm": "K13", "modify_ldt": "K13",
	"open_by_handle_at": "K14", "name_to_handle_at": "K14", "mknod": "K15",
	"fanotify_init": "K23", "fanotify_mark": "K23", "vhangup": "K23", "lookup_dcookie": "K23", "syslog": "P09",
	"personality": "P15", "seccomp": "K25", "raw": "K20", "ping": "K20", "packet": "K19",
	"move_pages": "P07", "migrate_pages": "P07", "mbind": "P07", "set_mempolicy": "P07", "memfd_secret": "P07",
}

// moreCalls are tried beside those of enginetest.
var moreCalls = map[string][]any{
	"unshare cgroup": {unix.CLONE_NEWCGROUP}, "unshare uts": {unix.CLONE_NEWUTS}, "unshare ipc": {unix.CLONE_NEWIPC}, "unshare pid": {unix.CLONE_NEWPID},
	"clone mount":   {unix.CLONE_NEWNS | int(unix.SIGCHLD), 0, 0, 0, 0},
	"clone network": {unix.CLONE_NEWNET | int(unix.SIGCHLD), 0, 0, 0, 0},
	"clone uts":     {unix.CLONE_NEWUTS | int(unix.SIGCHLD), 0, 0, 0, 0},
	"clone ipc":     {unix.CLONE_NEWIPC | int(unix.SIGCHLD), 0, 0, 0, 0},
	"clone cgroup":  {unix.CLONE_NEWCGROUP | int(unix.SIGCHLD), 0, 0, 0, 0},
	"clone all at once": {unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS |
		int(unix.SIGCHLD), 0, 0, 0, 0},
	"fsconfig": {0, 0, 0, 0, 0}, "fsmount": {0, 0, 0}, "fspick": {-100, "/", 0},
	"process_vm_writev": {1, 0, 0, 0, 0, 0}, "process_madvise": {0, 0, 0, 0, 0}, "ptrace seize": {0x4206, 1, 0, 0},
	"io_uring_register": {0, 0, 0, 0}, "kexec_file_load": {-1, -1, 0, "", 0}, "quotactl_fd": {-1, 0, 0, 0},
	"clock_adjtime": {0, 0}, "setdomainname": {"x", 1}, "iopl": {3}, "ioperm": {0x80, 1, 1}, "modify_ldt": {0, 0, 0},
	"fanotify_mark": {-1, 0, 0, -1, 0}, "migrate_pages": {0, 0, 0, 0}, "mbind": {0, 0, 0, 0, 0, 0}, "set_mempolicy": {0, 0, 0}, "memfd_secret": {0},
}

// kernelCall is a call as kernel.py takes it.
type kernelCall struct {
	Key    string `json:"key"`
	Number int    `json:"number"`
	Args   []any  `json:"args"`
}

// kernelCalls are all of this machine.
func kernelCalls() []kernelCall {
	calls, families := enginetest.Syscalls()
	var list []kernelCall
	for _, a := range calls {
		list = append(list, kernelCall{a.Name, a.Number, harmless(a)})
	}
	for _, a := range families {
		list = append(list, kernelCall{"family " + a.Name, a.Number, a.Args})
	}
	more := make([]kernelCall, 0, len(moreCalls))
	for key, args := range moreCalls {
		name, _, _ := strings.Cut(key, " ")
		if number, ok := seccomp.Number(name); ok {
			more = append(more, kernelCall{key, number, args})
		}
	}
	slices.SortFunc(more, func(a, b kernelCall) int { return strings.Compare(a.Key, b.Key) })
	return append(list, more...)
}

// harmless changes arguments with which a call outside, as root, would change
// this machine. They are still such that root gets an answer of another kind.
func harmless(a enginetest.SyscallAttempt) []any {
	switch a.Name {
	case "delete_module":
		return []any{"remuda_no_such_module", 0}
	case "kexec_load":
		return []any{0, 100, 0, 0}
	}
	return a.Args
}

// kernelRows are rows P07, P15 and all of K.
func kernelRows() []row {
	var list []probe
	for _, c := range kernelCalls() {
		word, _, _ := strings.Cut(c.Key, " ")
		p := probe{id: rowOfCall[word], key: c.Key, attempt: c.Key + callText(c), want: refused}
		if word == "family" || word == "netfilter" {
			p.id, p.want = "K19", oneOf("EAFNOSUPPORT", "EPERM")
		}
		if p.id == "" {
			panic("no row of the list of attempts for the call " + c.Key)
		}
		p.gvisor = gvisorCall(word)
		list = append(list, p)
	}
	rows := slices.Concat(probes("kernel.py", list), abiRows(), compoundRows())
	slices.SortStableFunc(rows, func(a, b row) int { return strings.Compare(a.id, b.id) })
	return append(rows, sweepRow(), row{id: "K25", attempt: "ask for gvisor and look which kernel answers", expected: "its own, or an error: never the machine's", places: atServerOnly(), try: func(c *cell) {
		why := c.house.refusal(gvisor)
		switch {
		case strings.Contains(why, ownKernel):
			c.escape("%s", why)
		case why != "":
			c.cannot("%s", why)
		}
		c.holds(true, "its own")
	}})
}

// gvisorCall is what gVisor's kernel may answer otherwise: it is a kernel of the
// sandbox's own, and a call that it grants or finds wrong reaches no other.
func gvisorCall(word string) *want {
	own := like("refused, or answered by the sandbox's own kernel", `^[A-Za-z0-9]`)
	if word == "family" {
		own = oneOf("EAFNOSUPPORT", "EPERM", "EPROTONOSUPPORT", "EINVAL", "ESOCKTNOSUPPORT")
	}
	return &own
}

func callText(c kernelCall) string {
	raw, err := json.Marshal(c.Args)
	if err != nil {
		return ""
	}
	return " (" + strings.Trim(string(raw), "[]") + ")"
}

func abiRows() []row {
	own := like("refused, or answered by the sandbox's own kernel", `^[A-Za-z0-9]`)
	gone := like("ENOSYS, or the processor has no such door", `^(ENOSYS|EPERM|killed by signal 11)$`)
	const machine = "the kernel of this machine may have no such door either"
	list := []probe{
		{"K24", "int80 getpid", "i386 getpid by int 0x80", gone, &own, machine},
		{"K24", "int80 unshare", "i386 unshare(CLONE_NEWUSER) by int 0x80", gone, &own, machine},
		{"K24", "int80 keyctl", "i386 keyctl by int 0x80", gone, &own, machine},
		{"K24", "x32 getpid", "x32 getpid (number with bit 30)", gone, &own, machine},
		{"K24", "x32 unshare", "x32 unshare(CLONE_NEWUSER)", gone, &own, machine},
		{"K24", "high bits", "the highest call number", gone, &own, machine},
		{"K24", "upper half", "unshare with bit 32 of the number set", gone, &own, ""},
		{"K24", "flags in the upper half", "unshare with bit 63 of the flags set", gone, &own, ""},
	}
	return probes("abi.py", list)
}

func compoundRows() []row {
	own := like("refused, or granted by the sandbox's own kernel only", `^[A-Za-z0-9]`)
	no := like("refused", `^(E[A-Z]+|failed.*)$`)
	family := oneOf("EAFNOSUPPORT", "EPERM")
	list := []probe{
		{"K03", "setns user", "setns into the own user namespace, with a descriptor", refused, &own, ""},
		{"K03", "setns mnt", "setns into a mount namespace, with a descriptor", refused, &own, ""},
		{"K03", "setns net", "setns into a network namespace, with a descriptor", refused, &own, ""},
		{"K03", "setns pid", "setns into a pid namespace, with a descriptor", refused, &own, ""},
		{"K26", "unshare -U", "unshare -U true", no, &own, ""},
		{"K26", "unshare -Urm", "unshare -Urm mount -t tmpfs none /tmp", no, &own, ""},
		{"K26", "unshare -n", "unshare -n true", no, &own, ""},
		{"K16", "chroot dance", "chroot, 50 times .., chroot", refused, nil, ""},
		{"K14", "shocker", "open_by_handle_at on / (shocker)", refused, &own, ""},
		{"K15", "mknod kmsg", "make the device of the kernel's log in the workspace", refused, nil, ""},
		{"K15", "mknod mem", "make the device of the memory in /tmp", refused, nil, ""},
		{"K15", "mknod disk", "make the device of the machine's disk", refused, nil, ""},
		{"F10", "mknod whiteout", "make an overlay whiteout (device 0:0)", refused, nil, ""},
		{"K19", "socket packet", "AF_PACKET, all protocols", family, nil, ""},
		{"K19", "socket netfilter", "AF_NETLINK of netfilter", like("refused", "^E[A-Z]+$"), nil, ""},
		{"K19", "socket audit", "AF_NETLINK of the audit system", like("refused", "^E[A-Z]+$"), nil, "some kernels have none"},
		{"K19", "socket uevent", "AF_NETLINK of device events", like("refused", "^E[A-Z]+$"), &own, ""},
		{"K19", "socket generic", "AF_NETLINK, generic", like("refused", "^E[A-Z]+$"), nil, ""},
		{"K19", "socket crypto", "AF_NETLINK of the crypto system", like("refused", "^E[A-Z]+$"), nil, "some kernels have none"},
		{"K20", "socket raw icmp", "raw socket for ICMP", oneOf("EPERM"), nil, ""},
		{"K20", "socket raw icmp6", "raw socket for ICMPv6", oneOf("EPERM"), nil, ""},
		{"K20", "socket raw ip", "raw socket with own IP headers", oneOf("EPERM"), nil, ""},
		{"K20", "socket ping6", "ping socket, IPv6", like("refused", "^E[A-Z]+$"), nil, "outside, ping_group_range may refuse it too"},
		{"K20", "socket sctp", "SCTP socket", like("refused", "^E[A-Z]+$"), nil, "some kernels have none"},
		{"K20", "socket udplite", "UDP-Lite socket", like("refused", "^E[A-Z]+$"), nil, "some kernels have none"},
		{"K20", "socket mptcp", "MPTCP socket", like("refused", "^E[A-Z]+$"), nil, "some kernels have none"},
		{"K19", "socketpair inet", "socketpair of AF_INET", like("refused", "^E[A-Z]+$"), nil, "no kernel has one"},
		{"K28", "dirty pipe", "dirty pipe (CVE-2022-0847) on /usr/bin/env", oneOf("unchanged"), nil, "mended in this kernel"},
		{"K28", "dirty cow", "dirty cow (CVE-2016-5195) on /etc/passwd", oneOf("unchanged", "EACCES"), nil, "mended in this kernel"},
		{"K28", "overlay copy-up", "overlay copy-up (CVE-2023-0386): mount an overlay", no, nil, ""},
		{"K28", "nft table", "nftables (CVE-2024-1086): talk to netfilter", like("refused", "^E[A-Z]+$"), nil, ""},
		{"K28", "cve-2022-0185", "fsopen (CVE-2022-0185)", refused, nil, ""},
		{"K04", "ebpf by socket", "attach a BPF program to a socket", like("refused", "^E[A-Z]+$"), &own, "the program does not exist: the descriptor is wrong anywhere"},
		{"K25", "own filter", "put an own filter before ours that allows everything", oneOf("EPERM", "EINVAL", "ENOSYS"), &own, ""},
		{"R21", "hugepages", "map a huge page", oneOf("ENOMEM"), &own, "machines without reserved huge pages refuse everybody"},
	}
	return probes("kernel2.py", list)
}

// sweepRow makes every call there is, in children.
func sweepRow() row {
	return row{id: "K24", attempt: "every system call number, each in a child", expected: "what the policy refuses is refused, nothing hangs, the instance goes on",
		places: everywhere(), try: func(c *cell) {
			b := c.open("python", roomy)
			o := b.run(harness.JSON{"script": enginetest.Sweep(), "timeout_s": 290}).ok().says("made 5")
			var got map[string]int
			o.lastJSON(&got)
			c.judgeSweep(got)
			if b.runspace != "" {
				b.script("print('alive')").ok().says("alive")
			}
		}}
}

// argumentsDecide are calls that are refused for some arguments only.
var argumentsDecide = []string{"unshare", "clone", "socket", "raw", "ping", "packet", "netfilter", "family", "mknod", "personality"}

// judgeSweep looks for calls that must never be allowed, and for calls that one
// kind of instance refuses and another does not.
func (c *cell) judgeSweep(got map[string]int) {
	c.Helper()
	kinds := map[int]int{}
	var missing []string
	for number, came := range got {
		kinds[came]++
		if came == int(unix.ENOSYS) {
			missing = append(missing, number)
		}
	}
	if c.place.class == process {
		for _, call := range kernelCalls() {
			word, _, _ := strings.Cut(call.Key, " ")
			came, made := got[strconv.Itoa(call.Number)]
			if made && !slices.Contains(argumentsDecide, word) && came != int(unix.EPERM) && came != int(unix.ENOSYS) {
				c.escape("%s, number %d, came to %d", call.Key, call.Number, came)
			}
		}
	}
	slices.Sort(missing)
	first, _ := c.house.memo.LoadOrStore("sweep "+c.place.class, missing)
	if !slices.Equal(first.([]string), missing) {
		c.escape("other calls exist here than on another kind of instance: %v, %v", missing, first)
	}
	refused := kinds[int(unix.EPERM)] + kinds[int(unix.ENOSYS)]
	c.holds(refused > 0, "%d calls: %d ENOSYS, %d EPERM, %d allowed and harmless", len(got), kinds[int(unix.ENOSYS)], kinds[int(unix.EPERM)], len(got)-refused)
}
