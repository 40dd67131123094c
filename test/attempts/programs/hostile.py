# A package that is hostile to whoever imports it first: the template from which instances are forked. What it kept at import
# time it hands to every instance, and they try to meet in it.
import ctypes, errno, json, mmap, os, random, signal, socket, struct, sys, tempfile, time

BORN = os.getpid()
LOG = {}
libc = ctypes.CDLL(None, use_errno=True)


def tried(key, f):
    """at import time; what comes of it is reported by the instances"""
    if ONLY:
        return  # a package that makes one way to meet leaves nothing else behind
    try:
        got = f()
        LOG[key] = "done" if got is None else str(got)
    except OSError as e:
        LOG[key] = errno.errorcode.get(e.errno, repr(e))
    except BaseException as e:
        LOG[key] = f"{type(e).__name__}: {e}"


def call(number, *args):
    ctypes.set_errno(0)
    r = libc.syscall(ctypes.c_long(number), *[ctypes.c_char_p(a.encode()) if isinstance(a, str) else ctypes.c_long(a) for a in args])
    if r == -1:
        raise OSError(ctypes.get_errno(), "")


tried("mount", lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == -1 and errno.errorcode[ctypes.get_errno()] or "done")
for flag, what in (0x10000000, "user"), (0x20000, "mount"), (0x40000000, "network"), (0x20000000, "pid"):
    tried(f"unshare {what}", lambda: call(NR["unshare"], flag))
tried("setns", lambda: call(NR["setns"], os.open("/proc/self/ns/user", os.O_RDONLY), 0))
tried("ptrace the parent", lambda: call(NR["ptrace"], 16, os.getppid(), 0, 0))
tried("pidfd_getfd of the parent", lambda: call(NR["pidfd_getfd"], os.pidfd_open(max(os.getppid(), 1)), 0, 0))
tried("read the parent's environment", lambda: open(f"/proc/{max(os.getppid(), 1)}/environ").read() and "read")
tried("read the parent's memory", lambda: open(f"/proc/{max(os.getppid(), 1)}/mem", "rb").close())
tried("kill the first process", lambda: os.kill(1, 9))
tried("setuid 0", lambda: os.setuid(0))
tried("connect out", lambda: socket.create_connection(("169.254.169.254", 80), 2).close())
tried("write to /etc", lambda: open("/etc/passwd", "a").close())
tried("write to /usr", lambda: open("/usr/lib/attempt", "w").close())
tried("look for secrets in the environment", lambda: "found" if any("REMUDA" in k or "TOKEN" in k or "PASSWORD" in k for k in os.environ) else "none")
tried("leave files", lambda: [open(os.path.join(d, f"import-{BORN}"), "w").close() for d in ("/tmp", "/workspace", "/dev/shm")] and None)

# The ways to meet. put() is called by one instance and get() by another.
CHANNELS = {}


def channel(key, make):
    if ONLY and ONLY != key:
        return
    try:
        CHANNELS[key] = make()
    except Exception as e:
        LOG["channel " + key] = repr(e)


def mapped(m):
    def put(word):
        m[:len(word)] = word
    return put, lambda: bytes(m[:64])


def shared_mapping():
    return mapped(mmap.mmap(-1, 4096))


def memfd():
    fd = os.memfd_create("hostile")
    os.ftruncate(fd, 4096)
    return (lambda word: os.pwrite(fd, word, 0)), (lambda: os.pread(fd, 64, 0))


def memfd_mapping():
    fd = os.memfd_create("hostile")
    os.ftruncate(fd, 4096)
    m = mmap.mmap(fd, 4096)
    os.close(fd)
    return mapped(m)


def unlinked_file():
    fd, name = tempfile.mkstemp()
    os.unlink(name)
    return (lambda word: os.pwrite(fd, word, 0)), (lambda: os.pread(fd, 64, 0))


def file_mapping():
    fd, name = tempfile.mkstemp(dir="/dev/shm")
    os.ftruncate(fd, 4096)
    m = mmap.mmap(fd, 4096)
    os.unlink(name)
    os.close(fd)
    return mapped(m)


def pipe():
    r, w = os.pipe()
    os.set_blocking(r, False)

    def get():
        try:
            return os.read(r, 4096)
        except BlockingIOError:
            return b""
    return (lambda word: os.write(w, word * 2)), get


def socketpair():
    a, b = socket.socketpair()
    b.setblocking(False)

    def get():
        try:
            return b.recv(4096)
        except BlockingIOError:
            return b""
    return a.send, get


def sysv():
    libc.shmat.restype = ctypes.c_void_p
    i = libc.shmget(0x4057, 4096, 0o1666)
    p = libc.shmat(i, None, 0)
    if i == -1 or p in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "shm")
    return (lambda word: ctypes.memmove(p, word, len(word))), (lambda: ctypes.string_at(p, 64))


def queue():
    i = libc.msgget(0x4057, 0o1666)
    if i == -1:
        raise OSError(ctypes.get_errno(), "msg")

    def put(word):
        b = struct.pack("l", 1) + word
        libc.msgsnd(i, b, len(word), 0o4000)

    def get():
        b = ctypes.create_string_buffer(128)
        n = libc.msgrcv(i, b, 100, 0, 0o4000)
        return b.raw[8:8 + n] if n > 0 else b""
    return put, get


def eventfd():
    fd = os.eventfd(0, os.EFD_NONBLOCK)

    def get():
        try:
            return b"n%d" % os.eventfd_read(fd)
        except BlockingIOError:
            return b""
    return (lambda word: os.eventfd_write(fd, 2 * (1 + sum(word)))), get


def directory():
    fd = os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY)

    def put(word):
        os.close(os.open(word.decode(), os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    return put, lambda: " ".join(os.listdir(fd)).encode()


def listener():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind("\0hostile-%d" % BORN)
    s.setblocking(False)

    def put(word):
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(word, "\0hostile-%d" % BORN)
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(word, "\0hostile-%d" % BORN)

    def get():
        try:
            return s.recv(4096)
        except BlockingIOError:
            return b""
    return put, get


def private_global():
    held = []
    return held.append, lambda: b" ".join(held)


def late_pair(kept=False):
    """is not there when the template is looked at, only when it is asked for forks"""
    import posix
    read, pair = posix.read, []

    def read_late(fd, n):
        got = read(fd, n)
        if n == 5 and got and not pair:
            pair.extend(socket.socketpair())
            pair[1].setblocking(False)
            if kept:
                g = sys._getframe(1).f_globals
                g["start"], make = g["by_words"](g["parts"][:7]), g["make"]
                g["make"] = lambda calls, *rest: make(calls[calls[0][0] == b"close":], *rest)
        return got

    def put(word):
        if not pair:
            raise OSError(errno.EBADF, "no template has served")
        pair[0].send(word * 2)

    def get():
        try:
            return pair[1].recv(4096) if pair else b""
        except BlockingIOError:
            return b""
    posix.read = read_late
    return put, get


def kept_pair():
    return late_pair(True)


for make in shared_mapping, memfd, memfd_mapping, unlinked_file, file_mapping, pipe, socketpair, sysv, queue, eventfd, directory, listener, private_global, late_pair, kept_pair:
    channel(make.__name__, make)

# Hooks around forks, and patches of what the driver may use.
if not ONLY:
    os.register_at_fork(before=lambda: LOG.__setitem__("before fork", "ran"), after_in_child=lambda: LOG.__setitem__("in child", "ran"))
