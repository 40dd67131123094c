# The fourth part of the Python driver, compiled when a run first wants more than
# its output: messages and objects as records of their own, a value assigned to a
# name, names unbound. Its globals are a copy of the first part's.
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
        """Ends what the run had. Nothing of it may raise, and nothing is left out
        because of an interrupt that comes late."""
        while True:
            try:
                if self.hooks is not None:
                    self.hooks.end()
                    if failure is not None and not isinstance(failure, (SystemExit, KeyboardInterrupt)):
                        text, failure = last_line(failure), None
                        self.records.write(ERROR, cut(text))
                if self.records is not None:
                    self.records.close()
                return
            except KeyboardInterrupt:
                pass

    def unbind(self):
        for name in self.scratch:
            self.scope.pop(name, None)


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
            self.busy = True
            try:
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
        with self.lock:
            self.drain()
            out = self.out
            if out is not None:
                try:
                    out.flush()
                except (OSError, ValueError):
                    pass
                out.raw.close()  # not the descriptor; nothing is written any more
            self.out = None


class Unset(int):
    """The root logger's level while the script has not set it."""


class Hooks:
    """Looks at what logging and warnings hand over."""

    level_set = False  # by a script of an earlier run

    def __init__(self, records):
        self.records, self.places, self.root = records, [], None

    def put(self, owner, name, hook):
        self.places.append((owner, name, getattr(owner, name), hook))
        setattr(owner, name, hook)

    def begin(self):
        import logging
        import warnings
        records, root = self.records, logging.root
        logger, last = logging.Logger, logging.lastResort
        enabled, handle, configure = logger.isEnabledFor, logger.callHandlers, logging.basicConfig
        show = getattr(warnings, "_showwarnmsg_impl", None)

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

        def showwarnmsg(message):
            if message.file is None and records.live():
                records.write(WARNING, cut("%s: %s" % (message.category.__name__, late("message")(message.message))))
            else:
                show(message)

        self.root = root
        if not Hooks.level_set and type(root.level) is int and root.level == logging.WARNING:
            root.level = Unset(root.level)
        self.put(logger, "isEnabledFor", isEnabledFor)
        self.put(logger, "callHandlers", callHandlers)
        self.put(logging, "basicConfig", basicConfig)
        if show is not None:
            self.put(warnings, "_showwarnmsg_impl", showwarnmsg)
        if last is not None:
            resort = LastResort()
            forget(logging, resort)
            self.put(logging, "lastResort", resort)

    def end(self):
        """Takes away what is still ours; a script may have put its own there."""
        while self.places:
            owner, name, before, hook = self.places[-1]
            if owner.__dict__.get(name) is hook:
                setattr(owner, name, before)
            self.places.pop()
        if self.root is None:
            return
        if type(self.root.level) is Unset:
            self.root.level = int(self.root.level)
        else:
            Hooks.level_set = True


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


# --- objects ---

GENERATOR = type((lambda: (yield))())


def many(value):
    """Whether a value is a sequence of objects and not one."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return not hasattr(type(value), "_fields")
    return type(value) is GENERATOR


def form(value):
    """The JSON text of an object: what it is, and its value to the first level."""
    quote = late("quote")
    kind = type(value)
    try:
        name = full_name(kind)
        bases = [full_name(base) for base in kind.__mro__[1:] if base is not object]
    except Exception:
        name, bases = "object", []
    head = '{"TypeName":%s,"Interfaces":[%s],"Value":' % (quote(name[:1000]), ",".join(quote(b[:1000]) for b in bases[:20]))
    try:
        budget = [OBJECT_BYTES - len(head) - 1]
        data = (head + level(value, budget) + "}").encode()
    except Exception:
        data = None
    if data is None or len(data) > OBJECT_BYTES:
        data = (head + quote(text_form(value)) + "}").encode()
    return data


def full_name(kind):
    return "%s.%s" % (kind.__module__, kind.__qualname__)


def text_form(value):
    text = late("message")(value)
    if len(text) > TEXT_CHARACTERS:
        text = text[:TEXT_CHARACTERS] + " ..."
    return text


def level(value, budget):
    """The first level of a value in JSON."""
    text = scalar(value)
    if text is not None:
        return text
    if isinstance(value, dict):
        return table(((k if isinstance(k, str) else late("message")(k), v) for k, v in value.items()), budget)
    fields = getattr(type(value), "_fields", None)
    if isinstance(value, tuple) and isinstance(fields, tuple):
        return table(zip(map(str, fields), value), budget)
    if isinstance(value, (list, tuple, set, frozenset)):
        return "[%s]" % ",".join(spend(leaf(one), budget) for one in value)
    own = getattr(value, "__dict__", None)
    if isinstance(own, dict) and not isinstance(value, type) and not callable(value):
        public = [(k, v) for k, v in own.items() if isinstance(k, str) and not k.startswith("_")]
        if public:
            return table(public, budget)
    return late("quote")(text_form(value))


def table(pairs, budget):
    quote = late("quote")
    return "{%s}" % ",".join(spend(quote(k) + ":" + leaf(v), budget) for k, v in pairs)


def leaf(value):
    text = scalar(value)
    return late("quote")(text_form(value)) if text is None else text


def spend(text, budget):
    budget[0] -= len(text) + 1
    if budget[0] < 0:
        raise ValueError("too large")
    return text


def scalar(value):
    """The JSON text of what is no structure, None for others."""
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, str):
        return late("quote")(str.__str__(value))
    if type(value) is int:
        return int.__repr__(value)
    if type(value) is float and value - value == 0:
        return float.__repr__(value)
    datetime = sys.modules.get("datetime")
    if datetime is not None and isinstance(value, datetime.date):
        return late("quote")(moment(value, datetime))
    return None


def moment(value, datetime):
    """A date or time as ISO 8601; a time without a zone is one of UTC."""
    if not isinstance(value, datetime.datetime):
        return value.isoformat()
    if value.tzinfo is not None and value.utcoffset() is not None:
        value = value.astimezone(datetime.timezone.utc)
    return value.replace(tzinfo=None).isoformat() + "Z"
