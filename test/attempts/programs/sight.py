# Reads and writes what belongs to the machine. Nothing is written: files are opened for writing only.

READ = """kcore kallsyms keys key-users timer_list sched_debug kmsg config.gz modules slabinfo vmallocinfo iomem ioports interrupts cmdline
    partitions diskstats locks consoles swaps zoneinfo pagetypeinfo buddyinfo schedstat softirqs kpageflags kpagecount
    mdstat misc mtrr crypto devices dma execdomains fb""".split()
DIRS = "acpi scsi driver bus irq fs pressure sysvipc tty dynamic_debug asound".split()


def read(p):
    b = os.read(os.open(p, os.O_RDONLY | os.O_NONBLOCK), 4096)
    return "read" if b.strip(b"\0 \n") else "empty"


for p in READ:
    attempt(f"read {p}", lambda: read(f"/proc/{p}"), 5)
for p in DIRS:
    attempt(f"list {p}", lambda: "listed" if os.listdir(f"/proc/{p}") else "empty")
for p in ("/sys/kernel/debug", "/sys/kernel/tracing", "/sys/fs/bpf", "/sys/kernel/security", "/sys/firmware", "/sys/kernel/config", "/sys/fs/cgroup", "/sys/class/net",
          "/sys/devices", "/sys/module"):
    attempt(f"list {p}", lambda: "listed" if os.listdir(p) else "empty")
WRITE = """/proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/kernel/hotplug /proc/sys/kernel/hostname /proc/sys/kernel/randomize_va_space
    /proc/sys/kernel/yama/ptrace_scope /proc/sys/vm/overcommit_memory /proc/sys/vm/drop_caches /proc/sys/net/ipv4/ip_forward /proc/sys/fs/file-max
    /proc/sys/fs/binfmt_misc/register /proc/sysrq-trigger /proc/kmsg /proc/1/oom_score_adj /proc/1/uid_map /proc/self/gid_map
    /proc/self/setgroups /proc/1/clear_refs /proc/irq/0/smp_affinity /sys/kernel/uevent_helper /sys/fs/cgroup/memory.max
    /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/release_agent /sys/fs/cgroup/memory/release_agent /sys/power/state /dev/kmsg /dev/mem /dev/kvm /dev/fuse /dev/loop-control /dev/net/tun /dev/vda /dev/console""".split()


def write(p):
    os.close(os.open(p, os.O_WRONLY))


for p in WRITE:
    attempt(f"write {p}", lambda: write(p))


def own_maps(what):
    text = open(f"/proc/self/{what}").read()
    fd = os.open(f"/proc/self/{what}", os.O_WRONLY)
    os.write(fd, b"0 0 4294967295")


attempt("uid_map", lambda: own_maps("uid_map"))
attempt("gid_map", lambda: own_maps("gid_map"))


def oom():
    fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    os.write(fd, b"-1000")


attempt("oom_score_adj", oom)


def leaks(path, *words):
    text = open(path).read()
    found = [w for w in words if w and w in text]
    return f"shows {found}" if found else "nothing of the machine"


attempt("mountinfo", lambda: leaks("/proc/self/mountinfo", data, "remuda-", "/var/lib", "/home", "/root", "upperdir", "lowerdir"))
attempt("mounts", lambda: leaks("/proc/mounts", data, "remuda-", "/var/lib", "upperdir", "lowerdir"))
attempt("cgroup", lambda: leaks("/proc/self/cgroup", "remuda", "user.slice", "system.slice", "..", "docker") if inside else "outside")
attempt("exe", lambda: os.readlink("/proc/self/exe") if inside else "outside")
attempt("environment", lambda: str(sorted(k for k in os.environ if k not in ("HOME", "LANG", "PATH", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "PWD", "SHLVL", "_", "LC_CTYPE"))) if inside else "outside")
attempt("environ of the driver", lambda: leaks("/proc/self/environ", "REMUDA", "TOKEN", "PASSWORD", data) if inside else "outside")
attempt("host name", lambda: "the machine's" if hostname and os.uname().nodename == hostname else "another")
attempt("dev", lambda: " ".join(sorted(os.listdir("/dev"))))
attempt("descriptors", lambda: " ".join(sorted({os.readlink(f"/proc/self/fd/{fd}").split(":")[0] for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}") and os.readlink(f"/proc/self/fd/{fd}").startswith("/")})) if inside else "outside")


def traceback():
    import traceback
    try:
        raise ValueError
    except ValueError:
        text = traceback.format_exc() + __file__ if "__file__" in globals() else traceback.format_exc()
    return f"shows {text}" if data in text or "/work" in text.replace("/workspace", "") else "only paths of the sandbox"


attempt("traceback", traceback)
HIDDEN = """/etc/shadow /etc/machine-id /etc/ssh /var/lib /var/log /root/.ssh /root/.bashrc /home /usr/src /usr/local/go /run/docker.sock
    /var/run /boot /mnt /media /opt /srv /etc/hostname.host""".split()


def look(p):
    seen = os.listdir(p) if os.path.isdir(p) else open(p).read()
    return "seen" if seen else "empty"


for p in HIDDEN:
    attempt(f"look {p}", lambda: look(p))
attempt("look data", lambda: os.listdir(data))
attempt("look tree", lambda: os.listdir(tree))
attempt("first root", lambda: os.listdir("/proc/1/root"))
attempt("dot dot", lambda: os.listdir("/../../../.." + data))
attempt("proc root", lambda: os.listdir("/proc/self/root" + data))
