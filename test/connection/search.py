# Looks for a word in everything that a script can reach without reading its own
# process's raw memory. parts: the word in two, so that this script is no finding.
import gc, os, sys, types

word = parts[0] + parts[1]
del parts[:]
found = []


def has(text):
    return isinstance(text, str) and word in text or isinstance(text, (bytes, bytearray)) and word.encode() in text


def search(what, value):
    if has(value):
        found.append(what)


# Everything that is alive, and what refers to it; atoms are in no list of the
# collector, but what holds them is.
seen = {id(found), id(word), id(globals())}
todo = [(o, "gc") for o in gc.get_objects()]
todo += [(m.__dict__, name) for name, m in list(sys.modules.items()) if isinstance(m, types.ModuleType)]
todo += [(f, "frame") for f in sys._current_frames().values()]
todo += [(dict(globals()), "globals"), (getattr(sys, "last_value", None), "last_value"), (sys.exc_info(), "exc_info")]
while todo:
    value, what = todo.pop()
    if id(value) in seen:
        continue
    seen.add(id(value))
    if value is not word:
        search(what + ": " + type(value).__name__, value)
    if not isinstance(value, (str, bytes, int, float)):
        try:
            todo += [(v, what) for v in gc.get_referents(value)]
        except Exception:
            pass
for name, value in os.environ.items():
    search("environment " + name, value)


def read(path):
    try:
        with open(path, "rb") as f:
            search(path, f.read(1 << 24))
    except OSError:
        pass


for pid in [p for p in os.listdir("/proc") if p.isdigit()] + ["self"]:
    for name in ("environ", "cmdline", "comm", "auxv", "stat", "status", "maps", "mountinfo", "cgroup"):
        read("/proc/%s/%s" % (pid, name))
    try:
        for fd in os.listdir("/proc/%s/fd" % pid):
            search("fd", os.readlink("/proc/%s/fd/%s" % (pid, fd)))
    except OSError:
        pass
search("stdin", sys.stdin.read())
for top in ("/workspace", "/tmp", "/dev/shm", "/var", "/run", "/home", "/etc", "."):
    for folder, _, names in os.walk(top):
        for name in names:
            search("name of a file", name)
            read(os.path.join(folder, name))
import linecache, traceback
search("linecache", repr(linecache.cache))
search("argv", repr(sys.argv))
looked = len(seen)
del todo, seen
print(len(found), looked, sorted(set(found))[:5])
