# Remuda's driver for Python 3.8 and later: reads scripts from init, runs them in
# one persistent __main__, reports how they ended. ../PROTOCOL.md has the wire.
#
# This part is compiled at every start, so it is short and imports only modules
# that the interpreter has loaded anyway. What a `1+1` does not need (values with
# rich forms, errors, parameters, top-level return) is in driver_late.py, what few
# runs ask for (messages and objects as records) in driver_records.py.
import _signal
import posix
import sys

LATE = "@LATE@"
RECORDS = "@RECORDS@"
BECOME_TEMPLATE = "@TEMPLATE@"
CHANNEL = 3
RUN, READY, DONE, TEMPLATE = 1, 2, 3, 4
INTERRUPT = {_signal.SIGINT}
FRAMES = []  # of runs that want more than their output
ME = posix.getpid()


class Quit:
    """The builtins exit and quit."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return "Use %s() to end the script" % self.name

    def __call__(self, code=None):
        raise SystemExit(code)


class Help:
    """The builtin help."""

    def __repr__(self):
        return "Type help(object) for help about object."

    def __call__(self, *args, **kwargs):
        import pydoc
        return pydoc.help(*args, **kwargs)


class Source:
    """__loader__ of __main__: gives linecache and inspect the script's text."""

    text = ""

    def get_source(self, name):
        return self.text


def late(name, loaded={}):
    """The function of driver_late.py with the given name."""
    if not loaded:
        loaded.update(globals())
        exec(compile(LATE, __file__, "exec"), loaded)
    return loaded[name]


def records(name, loaded={}):
    """The function or class of driver_records.py with the given name."""
    if not loaded:
        loaded.update(globals())
        exec(compile(RECORDS, __file__, "exec"), loaded)
    return loaded[name]


def receive():
    """Reads one frame and returns its type and its fields."""
    data = posix.read(CHANNEL, 65536)
    while data:
        need = 5 + int.from_bytes(data[:4], "big") if len(data) >= 5 else 5
        if len(data) >= 5 and len(data) >= need:
            break
        if need > 65536:  # one buffer instead of many joined ones
            parts, have = [data], len(data)
            while have < need:
                more = posix.read(CHANNEL, min(need - have, 1 << 20))
                if not more:
                    posix._exit(0)
                parts.append(more)
                have += len(more)
            data = b"".join(parts)
        else:
            more = posix.read(CHANNEL, need - len(data))
            if not more:
                posix._exit(0)
            data += more
    if not data or data[4] not in (RUN, TEMPLATE):
        posix._exit(0)
    fields, i = [], 5
    while i < len(data):
        n = int.from_bytes(data[i:i + 4], "big") + i + 4
        fields.append(data[i + 4:n])
        i = n
    if b"e" in fields[0]:
        FRAMES.append(data)  # maybe to be overwritten
    return data[4], fields


def send(kind, fields):
    out = bytearray(4)
    out.append(kind)
    for f in fields:
        out += len(f).to_bytes(4, "big")
        out += f
    out[:4] = (len(out) - 5).to_bytes(4, "big")
    view = memoryview(out)
    while view:
        view = view[posix.write(CHANNEL, view):]


def flush():
    for f in (sys.stdout, sys.stderr):
        try:
            f.flush()
        except Exception:
            pass


def finish():
    """What the interpreter itself does at its end."""
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
    import atexit
    atexit._run_exitfuncs()


def standard(new_stdin):
    """Mends the standard streams that an earlier script closed."""
    for name, fd, mode in (("stdout", 1, "w"), ("stderr", 2, "w"), ("stdin", 0, "r")):
        f = getattr(sys, name, None)
        if f is None or (fd == 0 and new_stdin) or getattr(f, "closed", False):
            f = open(fd, mode, encoding="utf-8", errors="strict" if fd == 1 else "backslashreplace" if fd else "surrogateescape", closefd=False)
            if fd:
                f.reconfigure(line_buffering=True)
            setattr(sys, name, f)
            setattr(sys, "__%s__" % name, f)


PLACE = compile("__remuda_value__ = 0", "", "exec", 0x400)


def translate(source, name):
    """Compiles a script so that it leaves its last expression in a global, or gives it
    when it is all there is: that needs no tree, which costs most of a short script."""
    line = source.rstrip()
    if not any(c in line for c in "\n;\\"):  # of others Python may warn, and would twice
        try:
            return compile(source, name, "eval", 0x2000, True)  # top-level await
        except SyntaxError:
            pass
    tree = compile(source, name, "exec", 0x2400, True)  # AST only, top-level await
    if tree.body and type(tree.body[-1]).__name__ == "Expr":
        last = tree.body[-1]
        place = PLACE.body[0]
        place.value = last.value
        for attribute in ("lineno", "col_offset", "end_lineno", "end_col_offset"):
            value = getattr(last, attribute)
            setattr(place, attribute, value)
            setattr(place.targets[0], attribute, value)
        tree.body[-1] = place
    try:
        return compile(tree, name, "exec", 0x2000, True)
    except SyntaxError as e:
        if e.msg != "'return' outside function":
            raise
    return late("with_return")(source, name)


def run(code, scope):
    """Runs compiled code and returns its value."""
    if isinstance(code, tuple):  # a function made for top-level return
        code, call = code
        return call(code, scope)
    value = eval(code, scope)
    if code.co_flags & 0x80:  # a coroutine: the script awaits at its top level
        import asyncio
        value = asyncio.run(value)
    return scope.pop("__remuda_value__", value)


def execute(main, flags, name, source, args, env, parameters, more=()):
    """Runs one script and returns the fields of a Done frame."""
    scope, value, failure, old_env, extra = main.__dict__, None, None, None, None
    final = b"f" in flags
    try:
        if b"e" in flags:
            extra = records("Extras")(more, scope, CHANNEL, ME)
        if b"c" in flags:
            source, path = late("code_file")(source, scope)
            name = name or path
        else:
            scope.pop("__file__", None)
            name = name or "<script>"
            script_folder("")
            source = source.decode()
        main.__loader__.text = source
        sys.argv = [name] + args
        standard(b"s" in flags)
        if env:
            old_env = late("set_env")(env)
        if parameters:
            late("bind")(scope, parameters)
        lines = sys.modules.get("linecache")
        if lines is not None:
            late("remember")(lines, name, source)
        code = translate(source, name)
        if b"i" in flags:
            while _signal.sigtimedwait(INTERRUPT, 0) is not None:
                pass
        try:
            _signal.pthread_sigmask(_signal.SIG_UNBLOCK, INTERRUPT)
            value = run(code, scope)
            if extra is not None:
                value = extra.take(value)
        except BaseException as e:
            failure = e
        if final or posix.getpid() != ME:
            finish()
        flush()
        _signal.pthread_sigmask(_signal.SIG_BLOCK, INTERRUPT)
    except BaseException as e:  # before the script, or an interrupt at its end
        _signal.pthread_sigmask(_signal.SIG_BLOCK, INTERRUPT)
        if failure is None:
            failure = e
    if posix.getpid() != ME:
        late("end_child")(failure, name, source)
    if extra is not None:
        extra.end(failure)
    try:
        if failure is not None:
            return late("failed")(failure, name, source)
        if value is None:
            return (b"ok", b"0", b"", b"", b"", b"", b"", b"")
        kind = type(value)
        # Python refuses to write an int of very many digits; described() copes.
        if kind is bool or kind is int and value.bit_length() < 2000:
            text = repr(value).encode()
            return (b"ok", b"0", b"v", text if kind is int else text.lower(), text, b"", b"", b"")
        return late("described")(value)
    except BaseException as e:
        return (b"error", b"1", b"", b"", b"", type(e).__name__.encode(), b"the value or the error could not be described", b"")
    finally:
        flush()
        if old_env is not None:
            late("restore_env")(old_env)
        if extra is not None:
            extra.unbind()


def script_folder(first, known=[None]):
    """Puts the folder of the script first in sys.path, in place of the last one's."""
    path = sys.path
    if not (path and known[0] is not None and path[0] == known[0]):
        path.insert(0, first)
    else:
        path[0] = first
    known[0] = first


def leave():
    """Lets go of the channel in a process that was forked. One that such a process
    forks in turn has none to let go of."""
    if CHANNEL >= 0:
        try:
            posix.close(CHANNEL)
        except OSError:
            pass


def prepare():
    """Makes __main__ and what the site module would have made."""
    global CHANNEL
    try:
        posix.dup2(3, 1000, False)
        posix.close(3)
        CHANNEL = 1000
    except OSError:
        posix.set_inheritable(3, False)
    posix.register_at_fork(after_in_child=leave)
    extra = [p for p in posix.environ.get(b"PYTHONPATH", b"").decode("utf-8", "surrogateescape").split(":") if p]
    layers = [p for p in extra if p.startswith("/layer/")]
    sys.path += layers  # as site-packages are: what the standard library has is taken from there
    version = "%d.%d" % sys.version_info[:2]
    base = sys.prefix.rstrip("/")
    for path in ("/usr/local/lib/python%s/dist-packages" % version, base + "/lib/python%s/site-packages" % version, base + "/lib/python3/dist-packages"):
        try:
            posix.stat(path)
        except OSError:
            continue
        sys.path.append(path)
    sys.path[0:0] = [p for p in extra if p not in layers]
    for path in layers:
        path_files(path)
    builtins = sys.modules["builtins"]
    builtins.exit, builtins.quit, builtins.help = Quit("exit"), Quit("quit"), Help()
    main = type(sys)("__main__")
    main.__builtins__ = builtins
    main.__loader__ = Source()
    sys.modules["__main__"] = main
    for f in (sys.stdout, sys.stderr):
        f.reconfigure(line_buffering=True)
    return main


def path_files(folder):
    """Does what the .pth files of a folder say, which is in sys.path already."""
    try:
        names = posix.listdir(folder)
    except OSError:
        return
    if any(name.endswith(".pth") for name in names):
        import site
        site.addsitedir(folder)


def warm(main):
    """Does once what every run does, and while nobody asks for a run what many do,
    so that the first run finds its pages and its code ready."""
    touch(main)
    import atexit, select
    if not select.select([CHANNEL], [], [], 0.03)[0]:
        late("described")("")
        if not select.select([CHANNEL], [], [], 0)[0]:
            records("Extras")


def become_template(fields, main, kept={}):
    """Returns in every instance that is forked from this process."""
    global CHANNEL, ME
    if fields[int(fields[0]) + 1] == b"0":  # children run our driver, with what is compiled here
        late("described")("")
        records("Extras")
    kept.update(globals())
    exec(compile(BECOME_TEMPLATE, __file__, "exec"), kept)
    kept["template"](fields, lambda: touch(main))
    CHANNEL, ME = 1000, posix.getpid()  # of its own


def touch(main):
    """Runs a script that does nothing, for the pages that a run touches."""
    execute(main, b"", "", b"print(end='')", [], [], [])


def serve():
    _signal.pthread_sigmask(_signal.SIG_BLOCK, INTERRUPT)
    main = prepare()
    send(READY, (sys.version.split()[0].encode(),))
    warm(main)
    while True:
        kind, fields = receive()
        if kind == TEMPLATE:
            become_template(fields, main)
            touch(main)
            send(READY, (sys.version.split()[0].encode(),))
            continue
        flags, name, source, n, *rest = fields
        n = int(n)
        args, rest = rest[:n], rest[n:]
        pairs = []
        for _ in (0, 1):
            n = int(rest[0]) * 2 + 1
            pairs.append(list(zip(rest[1:n:2], rest[2:n:2])))
            rest = rest[n:]
        args = [a.decode("utf-8", "surrogateescape") for a in args]
        done = execute(main, flags, name.decode("utf-8", "replace"), source, args, *pairs, rest)
        try:
            send(DONE, done)
        except OSError:  # the script has closed the channel: let the status speak
            posix._exit(int(done[1]))
        if FRAMES:
            secret = rest[2] != b"0" and not rest[1]
            fields = rest = pairs = done = None
            if secret:
                records("scrub")(FRAMES)
            FRAMES.clear()


if __name__ == "__main__":
    serve()
