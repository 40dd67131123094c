package enginetest

import (
	"encoding/json"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine"
)

// syscallAttempt is a system call that must be refused. The arguments are such
// that an unfiltered root process would get far with them.
type syscallAttempt struct {
	Name   string
	Number int
	Args   []any // numbers, or strings that become C strings
}

// syscallAttempts are rows P07, P15 and K01 to K26 of the list of attempts.
func syscallAttempts() []syscallAttempt {
	const zero = 0
	return []syscallAttempt{
		{"unshare user", unix.SYS_UNSHARE, []any{unix.CLONE_NEWUSER}},
		{"unshare mount", unix.SYS_UNSHARE, []any{unix.CLONE_NEWNS}},
		{"unshare network", unix.SYS_UNSHARE, []any{unix.CLONE_NEWNET}},
		{"unshare time", unix.SYS_UNSHARE, []any{unix.CLONE_NEWTIME}},
		{"clone user", unix.SYS_CLONE, []any{unix.CLONE_NEWUSER | int(unix.SIGCHLD), zero, zero, zero, zero}},
		{"clone pid", unix.SYS_CLONE, []any{unix.CLONE_NEWPID | int(unix.SIGCHLD), zero, zero, zero, zero}},
		{"clone3", unix.SYS_CLONE3, []any{zero, 88}},
		{"setns", unix.SYS_SETNS, []any{zero, zero}},
		{"mount", unix.SYS_MOUNT, []any{"none", "/tmp", "tmpfs", zero, zero}},
		{"umount", unix.SYS_UMOUNT2, []any{"/tmp", unix.MNT_DETACH}},
		{"pivot_root", unix.SYS_PIVOT_ROOT, []any{"/tmp", "/tmp"}},
		{"chroot", unix.SYS_CHROOT, []any{"/tmp"}},
		{"fsopen", unix.SYS_FSOPEN, []any{"tmpfs", zero}},
		{"open_tree", unix.SYS_OPEN_TREE, []any{-100, "/", 1}},
		{"move_mount", unix.SYS_MOVE_MOUNT, []any{-100, "/tmp", -100, "/var/tmp", zero}},
		{"mount_setattr", unix.SYS_MOUNT_SETATTR, []any{-100, "/", zero, zero, zero}},
		{"ptrace", unix.SYS_PTRACE, []any{unix.PTRACE_ATTACH, 1, zero, zero}},
		{"ptrace traceme", unix.SYS_PTRACE, []any{unix.PTRACE_TRACEME, zero, zero, zero}},
		{"process_vm_readv", unix.SYS_PROCESS_VM_READV, []any{1, zero, zero, zero, zero, zero}},
		{"pidfd_getfd", unix.SYS_PIDFD_GETFD, []any{zero, zero, zero}},
		{"kcmp", unix.SYS_KCMP, []any{1, 1, zero, zero, zero}},
		{"add_key", unix.SYS_ADD_KEY, []any{"user", "x", "y", 1, -2}},
		{"keyctl", unix.SYS_KEYCTL, []any{zero, -3, zero, zero, zero}},
		{"request_key", unix.SYS_REQUEST_KEY, []any{"user", "x", zero, zero}},
		{"bpf", unix.SYS_BPF, []any{zero, zero, zero}},
		{"perf_event_open", unix.SYS_PERF_EVENT_OPEN, []any{zero, zero, -1, -1, zero}},
		{"io_uring_setup", unix.SYS_IO_URING_SETUP, []any{4, zero}},
		{"io_uring_enter", unix.SYS_IO_URING_ENTER, []any{zero, zero, zero, zero, zero, zero}},
		{"userfaultfd", unix.SYS_USERFAULTFD, []any{zero}},
		{"syslog read", unix.SYS_SYSLOG, []any{3, zero, zero}},
		{"syslog size", unix.SYS_SYSLOG, []any{10, zero, zero}},
		{"init_module", unix.SYS_INIT_MODULE, []any{zero, zero, ""}},
		{"finit_module", unix.SYS_FINIT_MODULE, []any{zero, "", zero}},
		{"delete_module", unix.SYS_DELETE_MODULE, []any{"loop", zero}},
		{"kexec_load", unix.SYS_KEXEC_LOAD, []any{zero, zero, zero, zero}},
		{"reboot", unix.SYS_REBOOT, []any{unix.LINUX_REBOOT_MAGIC1, unix.LINUX_REBOOT_MAGIC2, zero, zero}},
		{"swapon", unix.SYS_SWAPON, []any{"/workspace/x", zero}},
		{"swapoff", unix.SYS_SWAPOFF, []any{"/workspace/x"}},
		{"acct", unix.SYS_ACCT, []any{"/workspace/x"}},
		{"quotactl", unix.SYS_QUOTACTL, []any{zero, zero, zero, zero}},
		{"clock_settime", unix.SYS_CLOCK_SETTIME, []any{zero, zero}},
		{"settimeofday", unix.SYS_SETTIMEOFDAY, []any{zero, zero}},
		{"adjtimex", unix.SYS_ADJTIMEX, []any{zero}},
		{"sethostname", unix.SYS_SETHOSTNAME, []any{"x", 1}},
		{"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, []any{-100, zero, zero}},
		{"name_to_handle_at", unix.SYS_NAME_TO_HANDLE_AT, []any{-100, "/", zero, zero, zero}},
		{"mknod character", unix.SYS_MKNODAT, []any{-100, "/tmp/kmsg", unix.S_IFCHR | 0o666, 1<<8 | 11}},
		{"mknod block", unix.SYS_MKNODAT, []any{-100, "/tmp/sda", unix.S_IFBLK | 0o666, 8 << 8}},
		{"fanotify_init", unix.SYS_FANOTIFY_INIT, []any{zero, zero}},
		{"vhangup", unix.SYS_VHANGUP, []any{}},
		{"personality", unix.SYS_PERSONALITY, []any{0x0400000}},
		{"seccomp", unix.SYS_SECCOMP, []any{zero, zero, zero}},
		{"raw socket", unix.SYS_SOCKET, []any{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}},
		{"ping socket", unix.SYS_SOCKET, []any{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP}},
		{"packet socket", unix.SYS_SOCKET, []any{unix.AF_PACKET, unix.SOCK_RAW, zero}},
		{"move_pages", unix.SYS_MOVE_PAGES, []any{zero, zero, zero, zero, zero, zero}},
	}
}

// familyAttempts are sockets that do not exist for a sandbox (K19).
func familyAttempts() []syscallAttempt {
	var list []syscallAttempt
	for name, family := range map[string]int{
		"vsock": unix.AF_VSOCK, "alg": unix.AF_ALG, "key": unix.AF_KEY, "bluetooth": unix.AF_BLUETOOTH, "xdp": unix.AF_XDP,
		"can": unix.AF_CAN, "tipc": unix.AF_TIPC, "rds": unix.AF_RDS, "kcm": unix.AF_KCM,
	} {
		list = append(list, syscallAttempt{name, unix.SYS_SOCKET, []any{family, unix.SOCK_RAW, 0}})
	}
	return append(list, syscallAttempt{"netfilter netlink", unix.SYS_SOCKET, []any{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}})
}

// caller makes system calls and prints what each returned.
const caller = `
import ctypes, json, os
libc = ctypes.CDLL(None, use_errno=True)
result = {}
for a in attempts:
    args = [ctypes.c_char_p(x.encode()) if isinstance(x, str) else ctypes.c_long(x) for x in a["Args"]]
    ctypes.set_errno(0)
    r = libc.syscall(ctypes.c_long(a["Number"]), *args)
    if r == 0 and a["Name"].startswith("clone"): os._exit(9)
    result[a["Name"]] = [r, ctypes.get_errno()]
print(json.dumps(result))
`

// kernel attempts the ways into the kernel.
func kernel(t *testing.T, e engine.Engine) {
	t.Run("system calls", func(t *testing.T) {
		t.Parallel()
		both(t, e, resources, func(b box) { b.refuses(syscallAttempts(), unix.EPERM, unix.ENOSYS) })
	})
	t.Run("socket families", func(t *testing.T) {
		t.Parallel()
		both(t, e, resources, func(b box) { b.refuses(familyAttempts(), unix.EAFNOSUPPORT, unix.EPERM) })
	})
	t.Run("every number", func(t *testing.T) {
		t.Parallel()
		both(t, e, resources, sweep)
	})
}

// refuses runs attempts and checks the error numbers.
func (b box) refuses(attempts []syscallAttempt, want ...unix.Errno) {
	b.t.Helper()
	raw, err := json.Marshal(attempts)
	if err != nil {
		b.t.Fatal(err)
	}
	var got map[string][2]int
	b.do(engine.Request{Script: caller, Parameters: map[string]json.RawMessage{"attempts": raw}, Timeout: patience}).ok().json(&got)
	for _, a := range attempts {
		r, ran := got[a.Name]
		refused := false
		for _, w := range want {
			refused = refused || r == [2]int{-1, int(w)}
		}
		if !ran || !refused {
			b.t.Errorf("%s returned %d, %v (ran: %v)", a.Name, r[0], unix.Errno(r[1]), ran)
		}
	}
}

// sweep makes every system call there is, with no arguments to speak of, each in
// a child of its own (K24). Whatever they do, the sandbox and its keeper go on.
func sweep(b box) {
	got := b.do(engine.Request{Timeout: patience, Script: Sweep()})
	got.ok().says("made 5")
	b.run("print('alive')").ok().says("alive")
	if !b.Alive() {
		b.t.Error("the instance is not alive")
	}
}
