import glob, resource, socket, subprocess, time

# Outside, a process of our own stands for the keeper: the first one is this program itself.
first = 1 if inside else subprocess.Popen(["/usr/bin/sleep", "300"]).pid


def run(*command):
    p = subprocess.run(command, capture_output=True, text=True, timeout=8, stdin=subprocess.DEVNULL)
    return "done" if p.returncode == 0 else "failed: " + (p.stderr or p.stdout).strip().split("\n")[0]


def others():
    pids = [p for p in os.listdir("/proc") if p.isdigit()]
    foreign = [p for p in pids if p != "1" and p != str(os.getpid()) and os.stat(f"/proc/{p}").st_uid != os.getuid()]
    return f"{len(foreign)} of others"


attempt("list", others)
attempt("count", lambda: "few" if len([p for p in os.listdir("/proc") if p.isdigit()]) < 8 else "many")
attempt("loginuid", lambda: open("/proc/self/loginuid", "w").write("0") and None)
for what in "environ", "mem", "maps", "auxv", "syscall", "stack", "cmdline", "pagemap", "io", "personality", "timers", "map_files", "task/1/environ":
    path = f"/proc/{first}/{what.replace('task/1', f'task/{first}')}"
    attempt(f"keeper {what}", lambda: ("read %d" % len(os.listdir(path) if os.path.isdir(path) else os.read(os.open(path, os.O_RDONLY), 64))))
attempt("keeper fd", lambda: "read " + " ".join(os.listdir(f"/proc/{first}/fd")))
for what in "cwd", "root", "exe", "ns/net", "ns/user":
    attempt(f"keeper {what}", lambda: "read " + os.readlink(f"/proc/{first}/{what}"))
attempt("keeper mem write", lambda: os.close(os.open(f"/proc/{first}/mem", os.O_RDWR)))
for s in signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGSEGV, signal.SIGSYS, signal.SIGCHLD, signal.SIGUSR1, 64:
    # Outside, signal 0 tells whether it could be signalled.
    attempt(f"signal {int(s)}", lambda: os.kill(first, s if inside else 0))
attempt("pidfd signal", lambda: signal.pidfd_send_signal(os.pidfd_open(first), signal.SIGKILL if inside else 0))
attempt("setpriority of the keeper", lambda: os.setpriority(os.PRIO_PROCESS, first, 19))
attempt("prlimit of the keeper", lambda: resource.prlimit(first, resource.RLIMIT_NOFILE, (16, 16)) and None)
attempt("affinity of the keeper", lambda: os.sched_setaffinity(first, {0}))
attempt("process group of the keeper", lambda: os.setpgid(first, 0))


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


def peek(pid):
    buffer = ctypes.create_string_buffer(8)
    local, remote = Iovec(ctypes.addressof(buffer), 8), Iovec(ctypes.addressof(buffer), 8)
    return call(nr["process_vm_readv"], pid, ctypes.addressof(local), 1, ctypes.addressof(remote), 1, 0) and None


attempt("ptrace the keeper", lambda: call(nr["ptrace"], 16, first, 0, 0) and None)
attempt("read the keeper's memory", lambda: peek(first))


def sibling(f):
    pid = os.fork()
    if pid == 0:
        time.sleep(20)
        os._exit(0)
    try:
        return f(pid)
    finally:
        os.kill(pid, 9)


attempt("ptrace a child", lambda: sibling(lambda pid: call(nr["ptrace"], 16, pid, 0, 0) and None))
attempt("read a child's memory", lambda: sibling(peek))
attempt("take a child's descriptor", lambda: sibling(lambda pid: call(nr["pidfd_getfd"], os.pidfd_open(pid), 0, 0) and None))

attempt("setuid 0", lambda: os.setuid(0))
attempt("setgid 0", lambda: os.setgid(0))
attempt("setgroups", lambda: os.setgroups([0, 1, 2]))
attempt("setresuid of the keeper", lambda: os.setresuid(0, 0, 0))


def capset():
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)(*[0xFFFFFFFF & 0x1FF] * 3, 0, 0, 0)
    if libc.capset(header, data) == -1:
        raise OSError(ctypes.get_errno(), "")


def prctl(*args):
    ctypes.set_errno(0)
    if libc.prctl(*[ctypes.c_ulong(a) for a in args]) == -1:
        raise OSError(ctypes.get_errno(), "")


attempt("capset", capset)
attempt("ambient capability", lambda: prctl(47, 2, 21, 0, 0))
attempt("securebits", lambda: prctl(28, 0x3F))
attempt("keep capabilities", lambda: prctl(8, 1))
attempt("mm map", lambda: prctl(35, 14, 0, 0, 0))
attempt("ptracer any", lambda: prctl(0x59616D61, 0xFFFFFFFFFFFFFFFF))
attempt("speculation", lambda: prctl(53, 0, 2))


def euid_of(*command):
    p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                         preexec_fn=None if inside else lambda: (os.setgid(1000), os.setuid(1000)))
    time.sleep(0.3)
    try:
        with open(f"/proc/{p.pid}/status") as f:
            return "euid " + [l for l in f if l.startswith("Uid:")][0].split()[2]
    finally:
        p.kill()


attempt("setuid su", lambda: euid_of("/usr/bin/su"))
attempt("setuid passwd", lambda: euid_of("/usr/bin/passwd"))
attempt("file capability", lambda: os.setxattr(sys.executable if not inside else "/workspace/cap" if open("/workspace/cap", "w").close() is None else "", "security.capability", bytes.fromhex("0100000202000000000000000000000000000000")))
attempt("personality", lambda: call(nr["personality"], 0x0400000) and None)
attempt("no randomization", lambda: call(nr["personality"], 0x0040000) and None)
attempt("death signal of the keeper", lambda: (prctl(1, 9), "own only")[1])


def terminal(request, argument):
    import fcntl, pty
    pid, master = pty.fork()
    if pid == 0:
        try:
            fcntl.ioctl(0, request, argument)
            os.write(1, b"done")
        except OSError as e:
            os.write(1, name(e.errno).encode())
        os._exit(0)
    text = b""
    while True:
        try:
            piece = os.read(master, 100)
        except OSError:
            break
        if not piece:
            break
        text += piece
    os.waitpid(pid, 0)
    return text.decode().strip()


attempt("TIOCSTI", lambda: terminal(0x5412, b"x"))
attempt("TIOCLINUX", lambda: terminal(0x541C, b"\x02"))
attempt("TIOCSETD", lambda: terminal(0x5423, (0).to_bytes(4, "little")))
attempt("real time", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
attempt("deadline", lambda: call(nr["sched_setattr"], 0, 0, 0) and None)
attempt("nice", lambda: os.setpriority(os.PRIO_PROCESS, 0, -20))
attempt("ioprio", lambda: call(nr["ioprio_set"], 1, 0, (1 << 13) | 0) and None)
attempt("mlockall", lambda: libc.mlockall(3) == -1 and name(ctypes.get_errno()) or "done")


def lock_much():
    import mmap
    m = mmap.mmap(-1, 96 << 20)
    if libc.mlock(ctypes.addressof(ctypes.c_char.from_buffer(m)), 96 << 20) == -1:
        raise OSError(ctypes.get_errno(), "")


attempt("mlock 96 MiB", lock_much)
for what in "NOFILE", "NPROC", "FSIZE", "CORE":
    limit = getattr(resource, "RLIMIT_" + what)
    hard = 1 << 30 if what == "NOFILE" else resource.RLIM_INFINITY
    attempt(f"raise {what}", lambda: resource.setrlimit(limit, (hard if not inside else resource.getrlimit(limit)[1], hard)) if hard != resource.getrlimit(limit)[1] else "unlimited before")


def core():
    before = set(glob.glob("/tmp/*") + glob.glob("/workspace/*"))
    pid = os.fork()
    if pid == 0:
        if not inside:
            resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        else:
            try:
                resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            except (OSError, ValueError):
                pass
        signal.signal(signal.SIGABRT, signal.SIG_DFL)
        os.chdir("/tmp")
        os.abort()
    dumped = os.WCOREDUMP(os.waitpid(pid, 0)[1])
    new = set(glob.glob("/tmp/*") + glob.glob("/workspace/*")) - before
    return f"core dumped, files {new}" if dumped or new else "no core"


attempt("core", core)


def descriptors():
    held = []
    try:
        while len(held) < 100000:
            held.append(os.dup(0))
    except OSError as e:
        return name(e.errno)
    return "100000"


attempt("descriptors", descriptors)


def shared(key):
    r = libc.shmget(0x5EC, 4096, 0)
    return "none" if r == -1 else "there"


if not inside:
    os.kill(first, 9)
attempt("foreign shm", lambda: shared(0))
