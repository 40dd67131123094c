import glob, shutil, stat, subprocess, tempfile, time

site = [p for p in sys.path if p.endswith("packages")][0] if any(p.endswith("packages") for p in sys.path) else "/usr/lib/python3"


def create(p):
    os.close(os.open(p, os.O_CREAT | os.O_WRONLY, 0o644))


def change(p):
    fd = os.open(p, os.O_WRONLY)
    os.close(fd)


for p in "/x", "/usr/x", "/usr/bin/x", "/usr/lib/x", "/usr/local/bin/x", "/etc/x", "/run/x", "/var/x", "/home/x", "/root/x", "/sys/x", "/proc/x", "/dev/x", "/opt/x":
    attempt(f"create {p}", lambda: create(p))
for p in "/etc/passwd", "/usr/bin/env", "/etc/ld.so.cache", os.__file__, os.path.realpath(sys.executable), json.__file__:
    attempt(f"change {p if p.startswith('/etc') or p == '/usr/bin/env' else {os.__file__: 'os.py', json.__file__: 'json'}.get(p, 'the interpreter')}", lambda: change(p))
attempt("package", lambda: create(site + "/attempt.py"))
attempt("pyc cache", lambda: create(glob.glob(os.path.dirname(os.__file__) + "/__pycache__/os.*.pyc")[0] if glob.glob(os.path.dirname(os.__file__) + "/__pycache__/os.*.pyc") else os.path.dirname(os.__file__) + "/__pycache__/x"))
attempt("remove", lambda: os.unlink("/usr/bin/env"))
attempt("rename", lambda: os.rename("/usr/bin/env", "/usr/bin/env2"))
attempt("chmod", lambda: os.chmod("/usr/bin/env", 0o777))
attempt("chown", lambda: os.chown("/usr/bin/env", os.getuid(), os.getgid()) or (None if inside else os.chown("/usr/bin/env", 1, 1)))
attempt("utime", lambda: os.utime("/usr/bin/env", (0, 0)))
attempt("truncate", lambda: os.truncate("/usr/bin/env", 0))
attempt("hard link", lambda: os.link("/etc/passwd", "/etc/passwd2" if not inside else "/workspace/passwd2"))
attempt("self exe", lambda: change("/proc/self/exe"))
attempt("exe by descriptor", lambda: change(f"/proc/self/fd/{os.open('/usr/bin/env', os.O_RDONLY)}"))


def deleted_exe():
    """CVE-2019-5736: reopen for writing what runs, after it has ended"""
    fd = os.open("/usr/bin/sleep", os.O_PATH)
    p = subprocess.Popen(["/usr/bin/sleep", "0.1"])
    p.wait()
    change(f"/proc/self/fd/{fd}")


attempt("CVE-2019-5736", deleted_exe)
attempt("remount", lambda: libc.mount(b"none", b"/", None, 32, None) == -1 and name(ctypes.get_errno()) or "done")
attempt("mmap shared", lambda: __import__("mmap").mmap(os.open("/usr/bin/env", os.O_RDWR), 4096) and None)
attempt("fallocate", lambda: os.posix_fallocate(os.open("/usr/bin/env", os.O_RDWR), 0, 1 << 20))
attempt("xattr trusted", lambda: (create("t"), os.setxattr("t", "trusted.overlay.opaque", b"y"))[1])
attempt("xattr security", lambda: (create("t"), os.setxattr("t", "security.selinux", b"y"))[1])
attempt("xattr capability", lambda: (create("t"), os.setxattr("t", "security.capability", bytes.fromhex("0100000202000000000000000000000000000000")))[1])


def setuid_here():
    import tempfile
    d = tempfile.mkdtemp(dir="/workspace")
    shutil.copy("/usr/bin/id", d + "/id")
    if not inside:
        os.chown(d + "/id", 0, 0)
        os.chmod(d, 0o755)
    os.chmod(d + "/id", 0o6755)
    p = subprocess.run([d + "/id", "-u"], capture_output=True, text=True, preexec_fn=None if inside else lambda: (os.setgid(1000), os.setuid(1000)))
    u = subprocess.run([d + "/id"], capture_output=True, text=True, preexec_fn=None if inside else lambda: (os.setgid(1000), os.setuid(1000))).stdout
    return f"uid {p.stdout.strip()}" if p.returncode == 0 else "failed: " + p.stderr


attempt("setuid in workspace", setuid_here)
FLAGS = {}
for line in open("/proc/self/mountinfo"):
    part = line.split()
    FLAGS[part[4]] = part[5]
for p in "/", "/workspace", "/tmp", "/var/tmp", "/dev/shm":
    attempt(f"flags {p}", lambda: " ".join(sorted({"nosuid", "nodev"} & set(FLAGS.get(p, "").split(",")))) or "none")


def empty(p):
    names = [f for f in os.listdir(p) if not f.startswith(("cap", "jail"))]
    return f"holds {names}" if names else "empty"


def all_places():
    places = ["/tmp", "/var/tmp", "/dev/shm", tempfile.gettempdir()]
    held = {p: os.listdir(p) for p in places if os.path.isdir(p) and os.listdir(p)}
    return f"holds {held}" if held and inside else "empty" if inside else "outside"


attempt("places", all_places)
attempt("run lock", lambda: create("/run/lock/x"))


def rmdir_cwd():
    d = tempfile.mkdtemp(dir="/workspace")
    os.chdir(d)
    os.rmdir(d)
    try:
        os.getcwd()
    except FileNotFoundError:
        pass
    os.chdir("/workspace")
    return "works again"


attempt("cwd", rmdir_cwd)
attempt("workspace rename", lambda: os.rename("/workspace", "/gone" if inside else "/gone"))
attempt("workspace remove", lambda: os.rmdir("/workspace"))
attempt("workspace replace", lambda: os.symlink("/etc", "/workspace/../workspace2"))
attempt("long path", lambda: create("/workspace/" + "x/" * 2500))
attempt("long name", lambda: create("/workspace/" + "x" * 300))
attempt("depth", lambda: [(os.mkdir("d"), os.chdir("d")) for _ in range(3000)] and os.chdir("/workspace"))
attempt("exec memory", lambda: __import__("mmap").mmap(-1, 4096, prot=7) and "allowed: the runtime's setting")
attempt("devices by link", lambda: (os.path.lexists("zero") or os.symlink("/dev/sda", "zero"), os.close(os.open("zero", os.O_RDONLY)))[1])
attempt("procfs mount", lambda: libc.mount(b"proc", b"/tmp", b"proc", 0, None) == -1 and name(ctypes.get_errno()) or "done")
attempt("fifo", lambda: os.mkfifo("/usr/fifo"))
attempt("immutable", lambda: __import__("fcntl").ioctl(os.open("/workspace", os.O_RDONLY), 0x40086602, (0x10).to_bytes(8, "little")) and None)
