# The fourth part of the Python driver, compiled when a run first wants more than
# its output: messages and objects as records of their own, a value assigned to a
# name, names unbound. Its globals are a copy of the first part's. driver_objects.py
# is its end.
#
# While a run has streams, logging and warnings are looked at where they hand over
# a message. Nothing that a script can see of their settings changes (handlers,
# levels, filters), so that it can set them as ever, and nothing stays.

RECORD = 8
INFORMATION, WARNING, ERROR, DEBUG, VERBOSE, OBJECT = b"3", b"4", b"5", b"6", b"7", b"8"
MESSAGE_BYTES = 32 << 10
OBJECT_BYTES = 256 << 10
TEXT_CHARACTERS = 32 << 10  # of the text form of an object that is too large
MOST_OBJECTS = 10000


class Extras:
    """What one run wants besides its output."""

    def __init__(self, fields, scope, channel, me):
        letters, assign, count, *names = fields
        self.scope, self.me = scope, me
        self.assign = assign.decode()
        self.scratch = [name.decode() for name in names[:int(count)]]
        self.objects = b"o" in letters
        if self.assign and not binds(self.assign):
            raise ValueError("%r is not a name that Python allows: use letters, digits and _, and no keyword" % self.assign)
        self.records = Records(channel, me) if letters else None
        self.hooks = None
        if b"m" in letters:
            self.hooks = Hooks(self.records)
            try:
                self.hooks.begin()
            except BaseException:
                self.end(None)
                raise

    def take(self, value):
        """What is still to be told of the script's value."""
        if self.objects and value is not None:
            self.enumerate(value)
        if not self.assign:
            return value
        self.scope[self.assign] = value

    def enumerate(self, value):
        if not many(value):
            self.records.write(OBJECT, form(value))
            return
        for i, one in enumerate(value):
            if i == MOST_OBJECTS:
                if self.hooks is not None:
                    self.records.write(WARNING, b"%d objects were kept, and the rest was not" % i)
                return
            self.records.write(OBJECT, form(one))

    def end(self, failure):
        """Ends what the run had, one step after the other, whatever a script has done
        to what it had hooks in and however late an interrupt comes."""
        steps = [self.records.close] if self.records is not None else []
        if self.hooks is not None:
            if failure is not None and not isinstance(failure, (SystemExit, KeyboardInterrupt)):
                steps.append(lambda: self.records.write(ERROR, cut(last_line(failure))))
            steps.append(self.hooks.end)
        while steps:
            try:
                while steps:
                    steps.pop()()
            except BaseException:
                pass

    def unbind(self):
        for name in self.scratch:
            self.scope.pop(name, None)


def scrub(frames):
    """Overwrites what was received, and memory that is free, where a secret may be
    left that has no name any more. It takes what every run leaves to be no more than
    this allocates at once."""
    import _io
    import gc
    while frames:
        size = len(frames[-1])
        _io.BytesIO(frames.pop()).write(bytes(size))  # in place: nobody else has it
    gc.collect()
    for size in range(16, 513, 16):  # the interpreter's own sizes
        [bytearray(size - 1) for _ in range((96 << 10) // size)]
    for size in range(528, 1041, 16):  # those that libc keeps apart
        [bytearray(size - 9) for _ in range(16)]
    for size in (1 << 10, 4 << 10, 64 << 10):
        [bytearray(size - 9) for _ in range((2 << 20) // size)]


def binds(name):
    import keyword
    return name.isidentifier() and not keyword.iskeyword(name)


def last_line(failure):
    text = late("message")(failure)
    name = late("type_name")(failure)
    return "%s: %s" % (name, text) if text else name


def cut(text):
    """A message as bytes."""
    data = text[:MESSAGE_BYTES].encode("utf-8", "backslashreplace")
    if len(data) > MESSAGE_BYTES or len(text) > MESSAGE_BYTES:
        data = data[:MESSAGE_BYTES - 4].decode("utf-8", "ignore").encode() + b" ..."
    return data


class Records:
    """The way to the keeper. A BufferedWriter knows what it has written of a frame
    also when an interrupt ends its write, so that every frame stays whole."""

    def __init__(self, channel, me):
        import _io
        import _thread
        self.me, self.lock, self.waiting, self.busy = me, _thread.RLock(), [], False
        self.out = _io.BufferedWriter(_io.FileIO(channel, "wb", closefd=False), OBJECT_BYTES + 64)

    def live(self):
        return self.out is not None and posix.getpid() == self.me

    def write(self, kind, data):
        """Writes one record, unless the run is over or this is another process."""
        if not self.live():
            return
        frame = b"".join(((len(data) + 9).to_bytes(4, "big"), b"\x08\0\0\0\x01", kind, len(data).to_bytes(4, "big"), data))
        with self.lock:
            self.waiting.append(frame)
            if self.busy:  # from a signal's handler, or a finalizer, inside of the lines below
                return
            try:
                self.busy = True
                self.drain()
            finally:
                self.busy = False

    def drain(self):
        out = self.out
        try:
            while self.waiting and out is not None:
                out.write(self.waiting.pop(0))
                out.flush()
        except (OSError, ValueError):  # the script has closed the channel
            self.out = None

    def close(self):
        """Writes what is left, which nobody may end in the middle: the next frame comes
        another way."""
        with self.lock:
            while self.out is not None:
                try:
                    self.drain()
                    if self.out is not None:
                        self.out.flush()
                        self.out.raw.close()  # not the descriptor; nothing is written any more
                    self.out = None
                except KeyboardInterrupt:
                    pass
                except (OSError, ValueError):
                    self.out = None


class Unset(int):
    """The root logger's level while the script has not set it."""


class Hooks:
    """Looks at what logging and warnings hand over."""

    level_set = False  # by a script of an earlier run

    def __init__(self, records):
        self.records, self.places, self.root, self.finder = records, [], None, None

    def put(self, owner, name, hook):
        self.places.append((owner, name, getattr(owner, name), hook))
        setattr(owner, name, hook)

    def begin(self):
        import warnings
        self.begin_warnings(warnings)
        logging = sys.modules.get("logging")
        if logging is not None:
            self.begin_logging(logging)
        else:
            self.finder = Finder(self)
            sys.meta_path.insert(0, self.finder)

    def begin_warnings(self, warnings):
        records, show = self.records, getattr(warnings, "_showwarnmsg_impl", None)

        def showwarnmsg(message):
            if message.file is None and records.live():
                records.write(WARNING, cut("%s: %s" % (message.category.__name__, late("message")(message.message))))
            else:
                show(message)

        if show is not None:
            self.put(warnings, "_showwarnmsg_impl", showwarnmsg)

    def begin_logging(self, logging):
        records, root = self.records, logging.root
        logger, last = logging.Logger, logging.lastResort
        enabled, handle, configure = logger.isEnabledFor, logger.callHandlers, logging.basicConfig

        def isEnabledFor(self, level):
            if enabled(self, level):
                return True
            return records.live() and not self.disabled and self.manager.disable < level and unset(self)

        def callHandlers(self, record):
            if records.live():
                records.write(kind_of(record.levelno), cut(text_of(logging, record)))
                if not enabled(self, record.levelno):
                    return
            handle(self, record)

        def basicConfig(**kwargs):
            # logging.warning() and its like call it when there is no handler yet.
            if kwargs or not records.live() or sys._getframe(1).f_globals is not logging.__dict__:
                configure(**kwargs)

        class LastResort(logging.Handler):
            """Instead of what prints messages that no handler takes."""

            def handle(self, record):
                if not records.live() and last is not None and record.levelno >= last.level:
                    last.handle(record)

        self.root = root
        if not Hooks.level_set and type(root.level) is int and root.level == logging.WARNING:
            root.level = Unset(root.level)
        self.put(logger, "isEnabledFor", isEnabledFor)
        self.put(logger, "callHandlers", callHandlers)
        self.put(logging, "basicConfig", basicConfig)
        if last is not None:
            resort = LastResort()
            forget(logging, resort)
            self.put(logging, "lastResort", resort)

    def end(self):
        """Takes away what is still ours; a script may have put its own there."""
        for owner, name, before, hook in reversed(self.places):
            if owner.__dict__.get(name) is hook:
                setattr(owner, name, before)
        if self.root is not None:
            if type(self.root.level) is Unset:
                self.root.level = int(self.root.level)
            else:
                Hooks.level_set = True
        if self.finder in sys.meta_path:
            sys.meta_path.remove(self.finder)


class Finder:
    """Waits for a script to import logging, which most do not."""

    def __init__(self, hooks):
        self.hooks = hooks

    def find_spec(self, name, path=None, target=None):
        if name != "logging" or not self.hooks.records.live():
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = Loader(spec.loader, self.hooks)
                return spec
        return None


class Loader:
    """Loads logging as its own loader does, and looks at it from then on."""

    def __init__(self, own, hooks):
        self.own, self.hooks = own, hooks

    def create_module(self, spec):
        return self.own.create_module(spec)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self.own
        self.own.exec_module(module)
        self.hooks.begin_logging(module)
        lines, source = sys.modules.get("linecache"), getattr(sys.modules["__main__"], "__loader__", None)
        if lines is not None and sys.argv and hasattr(source, "text"):
            late("remember")(lines, sys.argv[0], source.text)  # for tracebacks that are logged


def forget(logging, handler):
    """Takes a handler off the list of those that are flushed at the end."""
    handlers = logging._handlerList
    for i in range(len(handlers) - 1, -1, -1):
        if handlers[i]() is handler:
            del handlers[i]


def unset(logger):
    """Whether nobody has set the level that a logger has."""
    while logger:
        if logger.level:
            return type(logger.level) is Unset
        logger = logger.parent
    return False


def kind_of(level):
    if level >= 40:
        return ERROR
    if level >= 30:
        return WARNING
    if level >= 20:
        return INFORMATION
    return VERBOSE if level > 10 else DEBUG


def text_of(logging, record):
    try:
        text = record.getMessage()
    except Exception:  # its handlers will say what is wrong
        text = late("message")(record.msg)
    try:
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
    except Exception:
        pass
    return text
