package attempts

import (
	"fmt"
	"slices"
	"strings"
)

// no is any refusal by the kernel or by a program.
var no = like("refused", `^(E[A-Z0-9]+|failed.*|[A-Za-z]*Error: .*)$`)

// processRows are rows P and what of R is a matter of one call.
func processRows() []row {
	var list []probe
	add := func(id, key, attempt string, w want, alike string) {
		list = append(list, probe{id: id, key: key, attempt: attempt, want: w, alike: alike})
	}
	const root = "outside, root looks into a process of its own"
	add("P05", "list", "list /proc for processes of others", oneOf("0 of others"), "a count")
	add("P05", "count", "count the processes in /proc", oneOf("few"), "the control's namespace is new too")
	for _, what := range []string{"environ", "mem", "maps", "auxv", "syscall", "stack", "cmdline", "pagemap", "io", "personality", "timers", "map_files", "task/1/environ"} {
		add("P06", "keeper "+what, "read /proc/1/"+what+" of the keeper", no, root)
	}
	for _, what := range []string{"fd", "cwd", "root", "exe", "ns/net", "ns/user"} {
		add("P06", "keeper "+what, "follow /proc/1/"+what+" of the keeper", no, root)
	}
	add("P06", "keeper mem write", "open the keeper's memory for writing", no, root)
	for _, s := range []struct{ number, name string }{
		{"9", "SIGKILL"}, {"19", "SIGSTOP"}, {"15", "SIGTERM"}, {"11", "SIGSEGV"}, {"31", "SIGSYS"}, {"17", "SIGCHLD"}, {"10", "SIGUSR1"}, {"64", "the last real-time signal"},
	} {
		add("P03", "signal "+s.number, "send the first process "+s.name, oneOf("EPERM"), "")
	}
	add("P03", "pidfd signal", "kill the first process through a pidfd", oneOf("EPERM"), "")
	add("P16", "setpriority of the keeper", "slow the keeper down", no, "")
	add("P16", "prlimit of the keeper", "take the keeper's descriptors by prlimit", no, "")
	add("P16", "affinity of the keeper", "bind the keeper to one processor", no, "")
	add("P16", "process group of the keeper", "move the keeper into another process group", no, "nobody may")
	add("P16", "death signal of the keeper", "PR_SET_PDEATHSIG", oneOf("own only"), "harmless: it concerns the caller")
	add("P07", "ptrace the keeper", "ptrace the keeper", oneOf("EPERM", "ENOSYS"), "")
	add("P07", "read the keeper's memory", "process_vm_readv of the keeper", oneOf("EPERM", "ENOSYS"), "")
	add("P07", "ptrace a child", "ptrace an own child", oneOf("EPERM", "ENOSYS"), "")
	add("P07", "read a child's memory", "process_vm_readv of an own child", oneOf("EPERM", "ENOSYS"), "")
	add("P07", "take a child's descriptor", "pidfd_getfd of an own child", oneOf("EPERM", "ENOSYS"), "")
	add("P11", "setuid 0", "setuid(0)", no, "")
	add("P11", "setgid 0", "setgid(0)", no, "")
	add("P11", "setgroups", "setgroups", no, "")
	add("P11", "setresuid of the keeper", "setresuid(0, 0, 0)", no, "")
	add("P11", "capset", "capset of all capabilities", no, "")
	add("P11", "ambient capability", "raise an ambient capability", no, "")
	add("P11", "securebits", "PR_SET_SECUREBITS", no, "")
	add("P11", "keep capabilities", "PR_SET_KEEPCAPS", no, "")
	add("P11", "mm map", "PR_SET_MM", no, "it takes more than root outside too")
	add("P11", "ptracer any", "PR_SET_PTRACER any", no, "needs the Yama module outside")
	add("P11", "speculation", "switch off the protection against speculation", no, "")
	add("P11", "setuid su", "run the set-uid program su", like("stays uid 1000, or there is none", `^(euid 1000|ENOENT)$`), "")
	add("P11", "setuid passwd", "run the set-uid program passwd", like("stays uid 1000, or there is none", `^(euid 1000|ENOENT)$`), "")
	add("P12", "file capability", "give a file capabilities", no, "")
	add("P15", "personality", "personality(READ_IMPLIES_EXEC)", oneOf("EPERM", "EINVAL"), "")
	add("P15", "no randomization", "personality(ADDR_NO_RANDOMIZE)", oneOf("EPERM", "EINVAL"), "")
	add("P17", "TIOCSTI", "inject input into a terminal (TIOCSTI)", no, "a new kernel refuses it to everybody")
	add("P17", "TIOCLINUX", "paste by the console (TIOCLINUX)", no, "only consoles have it")
	add("P17", "TIOCSETD", "change the line discipline (TIOCSETD)", no, "")
	add("R20", "real time", "real-time scheduling", no, "")
	add("R20", "deadline", "sched_setattr", no, "the arguments are wrong anywhere")
	add("R20", "nice", "nice -20", no, "")
	add("R20", "ioprio", "real-time priority of disk access", no, "")
	add("R21", "mlockall", "mlockall", like("limited", "^(ENOMEM|EPERM|EAGAIN|no answer|killed.*)$"), "")
	add("R21", "mlock 96 MiB", "mlock 96 MiB", like("limited", "^(ENOMEM|EPERM|EAGAIN)$"), "")
	for _, what := range []string{"NOFILE", "NPROC", "FSIZE"} {
		add("R16", "raise "+what, "raise RLIMIT_"+what, like("refused", `^(E[A-Z]+|ValueError.*|unlimited before)$`), "outside it may be unlimited already")
	}
	add("R17", "raise CORE", "raise RLIMIT_CORE", like("refused", `^(E[A-Z]+|ValueError.*)$`), "outside it may be unlimited already")
	add("R17", "core", "dump core by abort()", oneOf("no core"), "")
	add("R16", "descriptors", "open 100,000 descriptors", oneOf("EMFILE"), "outside, the limit may be the same")
	add("S01", "foreign shm", "attach System V memory that another instance made", oneOf("none"), "the control's namespace is new too")
	for i := range list {
		if list[i].key == "keeper cmdline" || strings.HasPrefix(list[i].key, "keeper ns/") {
			list[i].gvisor = &want{"refused, or the sandbox's own", anything}
		}
	}
	list = forGVisor(list, "P16", "P07", "P15", "R20", "R21", "P17", "P11")
	return slices.Concat(probes("process.py", list), sightRows(), shellRows(), processLives())
}

// forGVisor lets a sandbox's own kernel grant what cannot reach another.
func forGVisor(list []probe, ids ...string) []probe {
	own := like("refused, or granted by the sandbox's own kernel only", `^[A-Za-z0-9]`)
	for i := range list {
		if slices.Contains(ids, list[i].id) && !strings.HasPrefix(list[i].key, "setuid ") {
			list[i].gvisor = &own
		}
	}
	return list
}

// sightRows look for the machine.
func sightRows() []row {
	var list []probe
	add := func(id, key, attempt string, w want, alike string) {
		list = append(list, probe{id: id, key: key, attempt: attempt, want: w, alike: alike})
	}
	nothing := like("refused or empty", `^(E[A-Z]+|empty)$`)
	const few = "this machine has none, or nobody may"
	for p := range strings.FieldsSeq(`kcore kallsyms keys key-users timer_list sched_debug kmsg config.gz modules slabinfo vmallocinfo iomem ioports interrupts cmdline
		partitions diskstats locks consoles swaps zoneinfo pagetypeinfo buddyinfo schedstat softirqs kpageflags kpagecount mdstat misc mtrr crypto devices dma execdomains fb`) {
		add("P09", "read "+p, "read /proc/"+p, nothing, alikeOf(p, few))
	}
	for p := range strings.FieldsSeq("acpi scsi driver bus irq fs pressure sysvipc tty dynamic_debug asound") {
		add("P09", "list "+p, "list /proc/"+p, nothing, alikeOf(p, few))
	}
	for _, p := range []string{"/sys/kernel/debug", "/sys/kernel/tracing", "/sys/fs/bpf", "/sys/kernel/security", "/sys/firmware", "/sys/kernel/config", "/sys/class/net", "/sys/devices", "/sys/module"} {
		add("K22", "list "+p, "list "+p, nothing, alikeOf(p, few))
	}
	add("K27", "list /sys/fs/cgroup", "list /sys/fs/cgroup", nothing, "")
	for p := range strings.FieldsSeq(`/proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/kernel/hotplug /proc/sys/kernel/hostname /proc/sys/kernel/randomize_va_space
		/proc/sys/kernel/yama/ptrace_scope /proc/sys/vm/overcommit_memory /proc/sys/vm/drop_caches /proc/sys/net/ipv4/ip_forward /proc/sys/fs/file-max
		/proc/sys/fs/binfmt_misc/register /proc/kmsg /proc/1/oom_score_adj /proc/1/uid_map /proc/1/clear_refs /proc/irq/0/smp_affinity
		/sys/kernel/uevent_helper /sys/power/state`) {
		add("P08", "write "+p, "open "+p+" for writing", no, alikeOf(p, few))
	}
	for p := range strings.FieldsSeq("/sys/fs/cgroup/memory.max /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/release_agent /sys/fs/cgroup/memory/release_agent") {
		add("K27", "write "+p, "open "+p+" for writing", no, alikeOf(p, few))
	}
	for p := range strings.FieldsSeq("/dev/kmsg /dev/mem /dev/kvm /dev/fuse /dev/loop-control /dev/net/tun /dev/vda /dev/console") {
		add("K21", "write "+p, "open "+p, no, alikeOf(p, few))
	}
	add("P08", "uid_map", "write the own uid_map", no, "written before")
	add("P08", "gid_map", "write the own gid_map", no, "written before")
	add("P08", "oom_score_adj", "make itself safe from the OOM killer", no, "")
	add("P10", "mountinfo", "look for paths of the machine in mountinfo", oneOf("nothing of the machine"), "")
	add("P10", "mounts", "look for paths of the machine in /proc/mounts", oneOf("nothing of the machine"), "")
	add("P10", "cgroup", "look for paths of the machine in /proc/self/cgroup", oneOf("nothing of the machine"), "a question")
	add("P10", "exe", "read /proc/self/exe", like("a path below /usr", "^/usr/"), "a question")
	add("P10", "environment", "look for more in the environment than is promised", like("nothing", `^\[\]$`), "a question")
	add("P06", "environ of the driver", "look for secrets in the driver's first environment", oneOf("nothing of the machine", "EACCES"), "a question")
	add("P10", "host name", "read the machine's name", oneOf("another"), "")
	add("K21", "dev", "list /dev", like("null zero full random urandom tty ptmx pts shm and the standard streams", `^(fd |full |null |ptmx |pts |random |shm |stderr |stdin |stdout |tty |urandom |zero ?|net )*$`), "")
	add("P10", "descriptors", "look at open descriptors", like("null, zero, the standard input or none", `^(/dev/null|/dev/zero|/dev/urandom|/memfd|/workspace|/proc.*| )*$|^nothing$`), "a question")
	add("F13", "traceback", "look for paths of the machine in a traceback", oneOf("only paths of the sandbox"), "a question")
	for p := range strings.FieldsSeq("/etc/shadow /etc/machine-id /etc/ssh /var/lib /var/log /root/.ssh /root/.bashrc /home /usr/src /usr/local/go /run/docker.sock /boot /mnt /media /opt /srv") {
		add("P10", "look "+p, "look at "+p, nothing, alikeOf(p, few))
	}
	add("P10", "look data", "look at the server's data directory", no, "")
	add("P10", "look tree", "look at the source tree", no, "")
	add("P10", "first root", "list /proc/1/root", no, "")
	add("P10", "dot dot", "climb out of the root by dots", no, "")
	add("P10", "proc root", "climb out by /proc/self/root", no, "")
	for i := range list { // /proc and /sys of gVisor are its own kernel's
		if id := list[i].id; list[i].want.text == "refused or empty" && (id == "P09" || id == "K22" || id == "K27") || id == "P08" {
			own := like("refused, empty, or the sandbox's own kernel's", `^[A-Za-z0-9]`)
			list[i].gvisor = &own
		}
	}
	return probes("sight.py", list)
}

// alikeOf is why the control may see the same: not every kernel has every file.
func alikeOf(path, why string) string {
	switch path {
	case "kcore", "kallsyms", "interrupts", "cmdline", "/proc/sys/kernel/core_pattern", "/etc/shadow", "/var/lib":
		return "" // every machine has these
	}
	return why
}

func shellRows() []row {
	bash := []probe{
		{"K26", "unshare user", "bash: unshare -U", no, nil, ""}, {"K01", "unshare mount", "bash: unshare -m", no, nil, ""},
		{"K03", "nsenter", "bash: nsenter into the first process's mounts", no, nil, ""},
		{"K02", "mount tmpfs", "bash: mount a tmpfs", no, nil, ""}, {"K02", "mount bind", "bash: bind /etc", no, nil, ""},
		{"F08", "remount root", "bash: remount / for writing", no, nil, ""}, {"K02", "umount proc", "bash: umount /proc", no, nil, ""},
		{"K16", "chroot", "bash: chroot /", no, nil, ""}, {"K15", "mknod", "bash: mknod of a disk", no, nil, ""},
		{"K10", "swapoff", "bash: swapoff -a", like("refused, or no such program", `^(failed.*|done)$`), nil, "there may be nothing to switch off"},
		{"K12", "hostname", "bash: change the host name", no, nil, ""}, {"P11", "su", "bash: su", no, nil, ""},
		{"P11", "setpriv", "bash: become uid 0", no, nil, ""}, {"P11", "setpriv caps", "bash: take capabilities", no, nil, ""},
		{"P11", "chown root", "bash: give a file to root", no, nil, ""}, {"P09", "dmesg", "bash: dmesg", no, nil, "the kernel's log may be empty"},
		{"P03", "kill first", "bash: kill -9 1", no, nil, ""}, {"F01", "write etc", "bash: append to /etc/passwd", no, nil, ""},
		{"F01", "write usr", "bash: make a file in /usr/bin", no, nil, ""}, {"P08", "write sysctl", "bash: open core_pattern for writing", no, nil, ""},
		{"P08", "sysrq", "bash: open sysrq-trigger for writing", no, nil, ""}, {"R17", "core limit", "bash: ulimit -c unlimited", no, nil, "outside it may be unlimited"},
		{"R02", "process limit", "bash: ulimit -u unlimited", like("refused, or without effect on the cgroup's limit", `^(failed.*|done)$`), nil, "the cgroup counts"},
		{"N02", "tcp by bash", "bash: connect to 169.254.169.254:80", no, nil, "a refusal by a peer is a failure too"},
		{"N05", "udp by bash", "bash: a datagram to 8.8.8.8:53", no, nil, ""}, {"K09", "insmod", "bash: load a module", no, nil, "there may be none to load"},
		{"P16", "taskset of the first", "bash: bind the first process to a processor", no, nil, ""},
		{"R20", "renice", "bash: renice -20", no, nil, ""}, {"R20", "chrt", "bash: real-time scheduling", no, nil, ""}, {"R20", "ionice", "bash: real-time disk access", no, nil, ""},
	}
	own := like("refused, or granted by the sandbox's own kernel only", `^[A-Za-z0-9]`)
	for i := range bash {
		if strings.HasPrefix(bash[i].id, "K") || bash[i].id == "R20" || bash[i].id == "P16" {
			bash[i].gvisor = &own
		}
	}
	node := []probe{
		{"N02", "connect", "node: connect to 169.254.169.254:80", no, nil, ""}, {"N09", "connect 6", "node: connect to fd00:ec2::254", no, nil, ""},
		{"N04", "control plane", "node: connect to the control plane", no, nil, "outside, its namespace has no server"}, {"N04", "docker", "node: connect to docker.sock", no, nil, "there may be none"},
		{"N14", "abstract", "node: connect to an abstract socket of the machine", no, nil, ""}, {"N05", "udp", "node: a datagram to 8.8.8.8:53", no, nil, ""},
		{"P11", "setuid", "node: setuid(0)", no, nil, ""}, {"P11", "setgroups", "node: setgroups", no, nil, ""}, {"P03", "kill", "node: kill the first process", no, nil, ""},
		{"F01", "write etc", "node: append to /etc/passwd", no, nil, ""}, {"F01", "write usr", "node: make a file in /usr/lib", no, nil, ""},
		{"P06", "environ", "node: read /proc/1/environ", no, nil, ""}, {"P09", "kcore", "node: open /proc/kcore", no, nil, ""}, {"K16", "chroot", "node: run chroot", like("refused", "."), nil, ""},
		{"K26", "unshare", "node: run unshare -U", like("refused", "^[^d]"), &own, ""}, {"R20", "setPriority", "node: nice -20", like("refused", "^[^d]"), &own, ""},
		{"P10", "shadow", "node: read /etc/shadow", no, nil, ""}, {"N15", "listen", "node: listen on port 80", like("refused, or in the sandbox only", `^(E[A-Z]+|own port only)$`), nil, "nobody outside can connect: see N15"},
		{"N01", "interfaces", "node: list interfaces", oneOf("lo", ""), nil, "a question"}, {"P10", "hostname", "node: read the machine's name", oneOf("another"), nil, ""},
	}
	return slices.Concat(probes("shell.sh", bash), probes("shell.js", node))
}

// token is a word by which processes are found again on the machine.
func (c *cell) token() string {
	return fmt.Sprintf("attempt-%d-%s", c.house.next(), strings.ReplaceAll(c.place.String(), " ", "-"))
}
