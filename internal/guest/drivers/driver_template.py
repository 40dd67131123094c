# The third part of the Python driver, compiled when it is to become a template:
# an interpreter that imports modules and is then forked from, over and over. Its
# globals are a copy of the first part's. ../PROTOCOL.md has the rules.

TEMPLATE, PREPARED, FORK, FORKED = 4, 5, 6, 7


class Refused(Exception):
    """Why there can be no template."""


def template(fields):
    """Becomes a template. Returns in each instance that is forked from it, and
    never in the template itself."""
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
        parts, syscall, errno = build(fields[count:])
        for name in set(sys.modules) - imported:  # ours, not the runtime's
            del sys.modules[name]
        gc.collect()
        gc.freeze()  # a collection in a child shall not touch what it shares
    except Refused as e:
        send(PREPARED, (str(e).encode("utf-8", "replace")[:4096],))
        posix._exit(1)
    send(PREPARED, (b"",))
    clone = parts[0][0][1]
    while True:
        if not posix.read(CHANNEL, 5):
            posix._exit(0)
        pid = syscall(*clone)
        if pid == 0:
            born(parts, syscall, errno)
            if program:
                become(program)
            refresh()
            return
        send(FORKED, (b"%d" % (pid if pid > 0 else 0),))


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


def build(fields):
    """Makes the lists of system calls that children need, ready to be called."""
    import ctypes
    libc = ctypes.PyDLL(None, use_errno=True)
    syscall = libc.syscall
    syscall.restype = ctypes.c_long
    fields = iter(fields)
    parts, keep = [], []

    def argument(field):
        kind, value = field[:1], field[1:]
        if kind == b"i":
            return ctypes.c_long(int(value))
        if kind == b"b":
            return value
        if kind == b"f":
            program = ctypes.create_string_buffer(value, len(value))
            head = (len(value) // 8).to_bytes(8, sys.byteorder) + ctypes.addressof(program).to_bytes(8, sys.byteorder)
            keep.append(program)
            return head
        room = ctypes.create_string_buffer(64)  # one byte of data, and descriptors
        data = ctypes.create_string_buffer(1)
        vector = ctypes.create_string_buffer(ctypes.addressof(data).to_bytes(8, sys.byteorder) + (1).to_bytes(8, sys.byteorder), 16)
        keep.extend((room, data, vector))
        words = (0, 0, ctypes.addressof(vector), 1, ctypes.addressof(room), 48, 0)
        return ctypes.create_string_buffer(b"".join(w.to_bytes(8, sys.byteorder) for w in words), 56)

    for count in fields:
        part = []
        for _ in range(int(count)):
            what, n = next(fields), int(next(fields))
            part.append((what, tuple(argument(next(fields)) for _ in range(n))))
        parts.append(part)
    parts.append(keep)  # as long as the lists live
    return parts, syscall, ctypes.get_errno


def make(calls, syscall, errno):
    """Makes the calls; the first that fails ends the process."""
    for what, call in calls:
        if syscall(*call) < 0:
            try:
                posix.write(3, b"e" + what + (": errno %d" % errno()).encode())
            finally:
                posix._exit(1)


def born(parts, syscall, errno):
    """Makes the first process of an instance of this one, and its interpreter,
    in which it returns."""
    knock, wait, ahead, fence, interpreter, first = parts[1:7]
    make(knock, syscall, errno)
    for (_, call), calls in zip(wait, (ahead, fence)):
        if syscall(*call) != 1:
            posix._exit(1)
        make(calls, syscall, errno)
    pid = posix.fork()
    if pid == 0:
        make(interpreter, syscall, errno)
        return
    make(first, syscall, errno)
    while True:
        try:
            child, status = posix.waitpid(-1, 0)
        except InterruptedError:
            continue
        if child == pid:
            posix.write(3, b"s" + status.to_bytes(4, "little"))
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
