# The third part of the Python driver, compiled when it is to become a template:
# an interpreter that imports modules and is then forked from, over and over. Its
# globals are a copy of the first part's. ../PROTOCOL.md has the rules.

TEMPLATE, PREPARED, FORK, FORKED = 4, 5, 6, 7


class Refused(Exception):
    """Why there can be no template."""


def template(fields, rehearse):
    """Becomes a template. Returns in each instance that is forked from it, and
    never in the template itself. Every page that an instance writes to has to be
    copied, so what it does is done here beforehand, as far as it is the same each
    time, and what it would free has gone by then."""
    program = prepared(fields, rehearse)
    fields.clear()
    gc.collect()
    gc.freeze()  # a collection in a child shall not touch what it shares
    send(PREPARED, (b"",))
    while True:
        if not posix.read(CHANNEL, 5):
            posix._exit(0)
        pid = start()
        if pid == 0:
            if program:
                become(program)
            refresh()
            return
        send(FORKED, (b"%d" % (pid if pid > 0 else 0),))


def prepared(fields, rehearse):
    """Imports what is to be imported, makes ready what forks need, and returns the
    program that they execute."""
    global gc, parts, start
    before = State()
    try:
        count = int(fields[0])
        for name in fields[1:count + 1]:
            preload(name.decode(), before)
        imported = set(sys.modules)
        before.restore()
        import gc
        count, fields = int(fields[count + 1]), fields[count + 2:]
        program = fields[:count]
        code, parts = fields[count], parse(fields[count + 1:])
        start = by_code(code, parts, not program) or by_words(parts[:7])
        if not program:
            for _ in range(REHEARSALS):
                refresh()
                rehearse()
        for name in set(sys.modules) - imported:  # ours, not the runtime's
            del sys.modules[name]
    except Refused as e:
        send(PREPARED, (str(e).encode("utf-8", "replace")[:4096],))
        posix._exit(1)
    return program


REHEARSALS = 20  # CPython rewrites code that runs often


def preload(name, before):
    """Imports a module, which may leave nothing behind that a child would share."""
    try:
        __import__(name)
    except BaseException as e:
        raise Refused("module %s cannot be imported: %s: %s" % (name, type(e).__name__, e))
    if len(posix.listdir("/proc/self/task")) != 1:
        raise Refused("module %s has started a thread" % name)
    try:
        posix.waitpid(-1, posix.WNOHANG)
    except ChildProcessError:
        pass
    else:
        raise Refused("module %s has started a process" % name)
    left = descriptors() - before.descriptors
    if left:
        fd = min(left)
        raise Refused("module %s has left descriptor %d open (%s)" % (name, fd, target(fd)))


def descriptors():
    return {int(n) for n in posix.listdir("/proc/self/fd") if target(n)}


def target(fd):
    try:
        return posix.readlink("/proc/self/fd/%s" % fd)
    except OSError:  # the one with which the list was read
        return ""


class State:
    """What of a process a module can change and a child would inherit."""

    def __init__(self):
        import _locale
        self.descriptors = descriptors()
        self.environ = dict(posix.environ)
        self.locale = _locale.setlocale(_locale.LC_ALL, None)
        self.handlers = [(n, _signal.getsignal(n)) for n in range(1, _signal.NSIG) if n not in (_signal.SIGKILL, _signal.SIGSTOP)]
        self.mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, ())

    def restore(self):
        import _locale
        for n, handler in self.handlers:
            if handler is not None and _signal.getsignal(n) is not handler:
                _signal.signal(n, handler)
        for timer in (_signal.ITIMER_REAL, _signal.ITIMER_VIRTUAL, _signal.ITIMER_PROF):
            _signal.setitimer(timer, 0)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self.mask)
        _signal.set_wakeup_fd(-1)
        posix.umask(0o022)
        posix.chdir("/")
        if _locale.setlocale(_locale.LC_ALL, None) != self.locale:
            _locale.setlocale(_locale.LC_ALL, self.locale)
        self.restore_environ()
        sys.settrace(None)
        sys.setprofile(None)
        flush()

    def restore_environ(self):
        import ctypes
        ctypes.PyDLL(None).clearenv()  # also what only putenv has seen
        posix.environ.clear()  # os.environ is the same
        for name, value in self.environ.items():
            posix.environ[name] = value
            posix.putenv(name, value)
        time = sys.modules.get("time")
        if time is not None:
            time.tzset()


def parse(fields):
    """The lists of system calls that children need: what each is, and its arguments."""
    fields, parts = iter(fields), []
    for count in fields:
        part = []
        for _ in range(int(count)):
            what, n = next(fields), int(next(fields))
            part.append((what, [next(fields) for _ in range(n)]))
        parts.append(part)
    return parts


def word(n):
    return n.to_bytes(8, sys.byteorder, signed=True)


# --- children that begin as machine code (../init/child_amd64.go has the words) ---

MEMORY, PAGE, STACK = 64 << 10, 4096, 256  # STACK is of the first process


class Room:
    """Memory of the template at a fixed place."""

    def __init__(self, ctypes, at, size):
        self.ctypes, self.at, self.end = ctypes, at, at + size

    def put(self, data):
        """Writes data and zeros after it, and returns its address."""
        here, size = self.at, (len(data) + 16) & ~7
        if here + size > self.end:
            raise MemoryError
        self.ctypes.memmove(here, data, len(data))
        self.at += size
        return here


def by_code(code, parts, stays):
    """The function that makes a child with machine code, whose interpreter shares
    the memory of its first process. None if there is no code for this machine, or
    if it is not known how the C library and all others get along with that."""
    import ctypes
    libc = ctypes.PyDLL(None)
    if not code or forks_are_watched():
        return None
    libc.mmap.restype, libc.syscall.restype, libc.pthread_self.restype = ctypes.c_void_p, ctypes.c_long, ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    base = libc.mmap(None, MEMORY, 3, 0x22, -1, 0)
    if base in (None, ctypes.c_void_p(-1).value):
        return None
    # The code, which is not written to again; what a first process writes to, with its
    # stack at the end; and what it reads.
    stack = base + 2 * PAGE - 64
    hot, rest = Room(ctypes, base + PAGE, PAGE - STACK), Room(ctypes, base + 2 * PAGE, MEMORY - 2 * PAGE)
    try:
        places = find_places(ctypes, libc, hot)
        if places is None:
            return None

        def argument(field):
            kind, value = field[:1], field[1:]
            if kind == b"i":
                return int(value)
            if kind == b"b":
                return rest.put(value)
            if kind == b"f":
                return rest.put(word(len(value) // 8) + word(rest.put(value)))
            if kind == b"p":
                return places[value]
            vector = hot.put(word(hot.put(b"")) + word(1))  # one byte of data, and descriptors
            return hot.put(b"".join(map(word, (0, 0, vector, 1, hot.put(bytes(64)), 48, 0))))

        def table(calls):
            words = []
            for what, arguments in calls:
                if b"prseq" in arguments and b"rseq" not in places:
                    continue
                text = b"e" + what + b": errno 0000"
                arguments = [argument(a) for a in arguments] + [0] * 6
                words += arguments[:7] + [1 if what.startswith(b"wait") else 0, rest.put(text), len(text)]
            return rest.put(b"".join(map(word, words + [-1])))

        for _, arguments in parts[7]:
            if b"prseq" in arguments and b"rseq" not in places:
                continue
            if libc.syscall(*[ctypes.c_long(argument(a)) for a in arguments]) < 0:
                return None
        places[b"locks"] = ctypes.c_long.from_address(places[b"robust"]).value
        clone, begin, ahead, handed, fence, interpreter, first = parts[:7]
        lists = (parts[8] + begin + ahead + handed + fence + parts[9], parts[10] + interpreter, first)
        words = [int(clone[0][1][1][1:]), places[b"tid"], stack] + [table(calls) for calls in lists]
        plan = rest.put(b"".join(map(word, words)))
        ctypes.memmove(base, code, len(code))
    except MemoryError:
        return None
    if libc.mprotect(base, PAGE, 5):
        return None
    begin = ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p)(base)
    return hooked(begin, plan) if stays else lambda: begin(plan)


def find_places(ctypes, libc, hot):
    """Where the C library keeps what a fork of its own would renew."""
    import _thread
    self = libc.pthread_self()
    places = {name: hot.put(word(0)) for name in (b"mask", b"robust", b"size")}
    try:
        bits, count, offset = (ctypes.c_uint32 * 3).in_dll(libc, "_thread_db_pthread_tid")
    except ValueError:
        return None
    places[b"tid"] = self + offset
    if bits != 32 or count != 1 or ctypes.c_int32.from_address(self + offset).value != _thread.get_native_id():
        return None
    try:
        if ctypes.c_uint.in_dll(libc, "__rseq_size").value:
            places[b"rseq"] = self + ctypes.c_ssize_t.in_dll(libc, "__rseq_offset").value
    except ValueError:
        pass
    return places


def forks_are_watched():
    """Whether a library wants to be told of forks, which only the C library's own
    fork does. The C library itself is known, and Python's is told by us."""
    with open("/proc/self/maps", "rb") as f:
        files = {line.split(None, 5)[5].strip() for line in f if line.count(b"/")}
    for path in files:
        if path.rpartition(b"/")[2].startswith((b"libc.so", b"libc-2", b"libpthread", b"ld-linux")):
            continue
        try:
            with open(path, "rb") as f:
                if b"__register_atfork" in f.read():
                    return True
        except OSError:
            return True
    return False


def hooked(begin, plan):
    """A child that stays Python does before it goes on what posix.fork does around
    the fork."""
    import ctypes
    before, after = ctypes.pythonapi.PyOS_BeforeFork, ctypes.pythonapi.PyOS_AfterFork_Child
    before.restype = after.restype = None
    names = leave.__globals__

    def start():
        pid = begin(plan)
        if pid == 0:
            names["CHANNEL"] = -1  # the template's has gone: there is nothing to let go of
            before()
            after()
        return pid

    return start


# --- children that begin as words of ours ---

def by_words(parts):
    """The function that makes a child with calls of ours."""
    parts, syscall, errno = build(parts)
    clone = parts[0][0][1]

    def start():
        pid = syscall(*clone)
        if pid == 0:
            born(parts, syscall, errno)
        return pid

    return start


def build(lists):
    """Makes the lists of system calls that children need, ready to be called."""
    import ctypes
    libc = ctypes.PyDLL(None, use_errno=True)
    syscall = libc.syscall
    syscall.restype = ctypes.c_long
    keep = []

    def argument(field):
        kind, value = field[:1], field[1:]
        if kind == b"i":
            return ctypes.c_long(int(value))
        if kind == b"b":
            return value
        if kind == b"f":
            program = ctypes.create_string_buffer(value, len(value))
            keep.append(program)
            return word(len(value) // 8) + word(ctypes.addressof(program))
        room = ctypes.create_string_buffer(64)  # one byte of data, and descriptors
        data = ctypes.create_string_buffer(1)
        vector = ctypes.create_string_buffer(word(ctypes.addressof(data)) + word(1), 16)
        keep.extend((room, data, vector))
        words = (0, 0, ctypes.addressof(vector), 1, ctypes.addressof(room), 48, 0)
        return ctypes.create_string_buffer(b"".join(map(word, words)), 56)

    parts = [[(what, tuple(argument(a) for a in arguments)) for what, arguments in calls] for calls in lists]
    parts.append(keep)  # as long as the lists live
    return parts, syscall, ctypes.get_errno


def make(calls, syscall, errno):
    """Makes the calls; the first that fails ends the process. What waits has to get
    something."""
    for what, call in calls:
        if syscall(*call) < what.startswith(b"wait"):
            try:
                posix.write(0, b"e" + what + (": errno %d" % errno()).encode())
            finally:
                posix._exit(1)


def born(parts, syscall, errno):
    """Makes the first process of an instance of this one, and its interpreter,
    in which it returns."""
    begin, ahead, handed, fence, interpreter, first = parts[1:7]
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGHUP,))  # which it waits for
    for calls in (begin, ahead, handed, fence):
        make(calls, syscall, errno)
    pid = posix.fork()
    if pid == 0:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
        make(interpreter, syscall, errno)
        return
    make(first, syscall, errno)
    while True:
        try:
            child, status = posix.waitpid(-1, 0)
        except InterruptedError:
            continue
        if child == pid:
            posix.write(0, b"s" + status.to_bytes(4, "little"))
            posix._exit(0)


def become(program):
    """Executes an interpreter of another language, with nothing of this one's."""
    for n in (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGINT):
        _signal.signal(n, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    try:
        posix.execv(program[0], program)
    finally:
        posix._exit(127)


def refresh():
    """Renews what children would otherwise share and nothing else renews: the
    random module does so itself, OpenSSL and tempfile when the process number
    changes."""
    modules = sys.modules
    uuid = modules.get("uuid")
    if uuid is not None:
        # libuuid would keep its node and its sequence, if a module has used it.
        uuid._generate_time_safe = uuid._last_timestamp = None
        uuid._node = int.from_bytes(posix.urandom(6), "big") | 1 << 40
    tempfile = modules.get("tempfile")
    if tempfile is not None:
        tempfile._name_sequence = None
    process = modules.get("multiprocessing.process")
    if process is not None:
        process.current_process().authkey = posix.urandom(32)
    ssl = modules.get("_ssl")
    if ssl is not None:
        ssl.RAND_add(posix.urandom(32), 32.0)
    numpy = modules.get("numpy.random")
    if numpy is not None:
        numpy.seed()
