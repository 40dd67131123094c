# The second part of the Python driver, compiled when a script first needs it.
# Its globals are a copy of the first part's.

TEXT_LIMIT = 1 << 20
JSON_LIMIT = 8 << 20
RICH_LIMIT = 12 << 20
MESSAGE_LIMIT = 64 << 10
TRACEBACK_LIMIT = 256 << 10
WORKSPACE = "/workspace/"


# --- before the script ---

def code_file(path, scope):
    """Reads a script from the workspace and makes it the main file."""
    path = path.decode("utf-8", "surrogateescape")
    full = path if path.startswith("/") else WORKSPACE + path
    with open(full, "rb") as f:
        data = f.read()
    if b"coding" in b"".join(data.split(b"\n", 2)[:2]):
        from importlib.util import decode_source
        text = decode_source(data)
    else:
        text = data.decode("utf-8-sig")
    scope["__file__"] = full
    script_folder(full.rpartition("/")[0])
    return text, path


def set_env(pairs):
    """Sets variables and returns what they were. Works on os.environ if the os
    module is loaded and else on what it will be made from."""
    environ = environment()
    old = [(k, environ.get(k)) for k, _ in pairs]
    for k, v in pairs:
        assign(environ, k, v)
    return old


def restore_env(old):
    environ = environment()
    for k, v in old:
        assign(environ, k, v)


def environment():
    os = sys.modules.get("os")
    return posix.environ if os is None else os.environb


def assign(environ, k, v):
    if environ is not posix.environ:
        if v is None:
            environ.pop(k, None)
        else:
            environ[k] = v
    elif v is None:
        environ.pop(k, None)
        posix.unsetenv(k)
    else:
        environ[k] = v
        posix.putenv(k, v)


def bind(scope, pairs):
    """Binds parameters, none of them if one cannot be."""
    import keyword
    values = {}
    for name, text in pairs:
        name = name.decode()
        if not name.isidentifier() or keyword.iskeyword(name):
            raise ValueError("parameter %r is not a name that Python allows: use letters, digits and _, and no keyword" % name)
        values[name] = from_json(text.decode())
    scope.update(values)


def from_json(text):
    """Parses JSON that init has checked, without the cost of importing json."""
    try:
        from _json import make_scanner
    except ImportError:
        import json
        return json.loads(text)

    class context:
        strict, object_hook, object_pairs_hook, memo = True, None, None, {}
        parse_float, parse_int, parse_constant = float, int, float

    return make_scanner(context)(text.strip(), 0)[0]


def remember(linecache, name, source):
    """Lets tracebacks show the lines of a script that is no file."""
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)


# --- a script with `return` at its top level ---

class Returned(BaseException):
    def __init__(self, value=None):
        self.value = value


def with_return(source, name):
    """Compiles such a script as the body of a function whose names are all
    global. What no function may hold (a star import) makes it run as a module
    in which `return` is an exception."""
    import _ast
    import _symtable
    names = [n for n in _symtable.symtable(source, name, "exec").symbols if n.isidentifier()]
    tree = compile(source, name, "exec", 0x2400, True)
    head = []
    while tree.body and (docstring(tree.body[0]) or getattr(tree.body[0], "module", None) == "__future__"):
        head.append(tree.body.pop(0))
    if tree.body and isinstance(tree.body[-1], _ast.Expr):
        tree.body[-1] = move(_ast.Return(tree.body[-1].value), tree.body[-1])
    for kind in ("def", "async def"):
        module = compile(kind + " f():\n global g\n pass", name, "exec", 0x400, True)
        function = module.body[0]
        function.name = "<module>"
        function.body[0].names = names
        function.body[1:] = tree.body
        if not names:
            del function.body[0]
        module.body[:0] = head
        try:
            return compile(module, name, "exec", 0, True), call_function
        except SyntaxError as e:
            trouble = str(e.msg)
        if "outside async function" not in trouble:
            break
    if not ("import *" in trouble or "annotated name" in trouble):
        return compile(module, name, "exec", 0, True), call_function  # raises it again
    raising(tree.body)
    tree.body[:0] = head
    return compile(tree, name, "exec", 0x2000, True), call_module


def docstring(node):
    return type(node).__name__ == "Expr" and isinstance(getattr(node.value, "value", None), str)


def move(new, old):
    for attribute in ("lineno", "col_offset", "end_lineno", "end_col_offset"):
        setattr(new, attribute, getattr(old, attribute))
    return new


def raising(body):
    """Replaces `return x` by `raise __remuda_return__(x)`, but not in functions."""
    import _ast
    for i, node in enumerate(body):
        if isinstance(node, _ast.Return):
            name = move(_ast.Name("__remuda_return__", _ast.Load()), node)
            call = move(_ast.Call(name, [node.value] if node.value else [], []), node)
            body[i] = move(_ast.Raise(call, None), node)
        elif not isinstance(node, (_ast.FunctionDef, _ast.AsyncFunctionDef, _ast.ClassDef)):
            for field in ("body", "orelse", "finalbody"):
                raising(getattr(node, field, []))
            for field in ("handlers", "cases"):
                for part in getattr(node, field, []):
                    raising(part.body)


def call_function(code, scope):
    exec(code, scope)
    function = scope.pop("<module>")
    value = function()
    if function.__code__.co_flags & 0x80:
        import asyncio
        value = asyncio.run(value)
    return value


def call_module(code, scope):
    scope["__remuda_return__"] = Returned
    try:
        return run(code, scope)
    except Returned as r:
        return r.value
    finally:
        scope.pop("__remuda_return__", None)


# --- after the script: an error ---

def failed(e, name, source):
    """The fields of a Done frame for an uncaught exception."""
    if isinstance(e, SystemExit):
        status, text = exit_status(e.code)
        if text is not None:
            print(text, file=sys.stderr)
        if status == 0:
            return (b"ok", b"0", b"", b"", b"", b"", b"", b"")
        return (b"error", b"%d" % status, b"", b"", b"", b"SystemExit", encode(str(e.code), MESSAGE_LIMIT), b"")
    status = b"130" if isinstance(e, KeyboardInterrupt) else b"1"
    return (b"error", status, b"", b"", b"", type_name(e).encode(), encode(message(e), MESSAGE_LIMIT), encode(formatted(e, name, source), TRACEBACK_LIMIT))


def exit_status(code):
    """What CPython makes of the argument of sys.exit."""
    if code is None:
        return 0, None
    if isinstance(code, int):
        return code & 0xFF, None
    return 1, message(code)


def type_name(e):
    kind = type(e)
    module = kind.__module__
    return kind.__qualname__ if module in ("builtins", "__main__") else "%s.%s" % (module, kind.__qualname__)


def message(value):
    try:
        return str(value)
    except BaseException as e:
        return "<str() of this %s raised %s>" % (type(value).__name__, type(e).__name__)


def formatted(e, name, source):
    """The traceback as the interpreter prints it, without the driver's frames."""
    tb = e.__traceback__
    while tb is not None and tb.tb_frame.f_code.co_filename == __file__:
        tb = tb.tb_next
    try:
        import linecache
        import traceback
        remember(linecache, name, source if isinstance(source, str) else "")
        return "".join(traceback.format_exception(type(e), e, tb))
    except BaseException:
        return "%s: %s\n" % (type_name(e), message(e))


def end_child(failure, name, source):
    """Ends a forked child that ran off the end of the script, as the
    interpreter itself would."""
    status = 0
    if isinstance(failure, SystemExit):
        status, text = exit_status(failure.code)
    elif failure is not None:
        status, text = 1, formatted(failure, name, source).rstrip("\n")
    if status and text is not None:
        print(text, file=sys.stderr)
    flush()
    posix._exit(status)


def encode(text, limit):
    """UTF-8 of at most about limit bytes; the middle is what is cut."""
    if len(text) > limit:
        text = "%s\n... %d characters cut ...\n%s" % (text[:limit // 2], len(text) - limit, text[-limit // 2:])
    return text.encode("utf-8", "backslashreplace")


# --- after the script: a value ---

def described(value):
    """The fields of a Done frame for a value."""
    if isinstance(value, str):
        text = str.__str__(value)
    else:
        try:
            text = repr(value)
        except BaseException as e:
            text = "<repr() of this %s raised %s: %s>" % (type(value).__name__, type(e).__name__, message(e))
    try:
        parts, budget = [], [JSON_LIMIT]
        to_json(value, parts.append, budget, 0)
        json = "".join(parts).encode()
    except BaseException:
        json = b""
    fields = [b"ok", b"0", b"v", json, encode(text, TEXT_LIMIT), b"", b"", b""]
    if type(value).__module__ != "builtins":
        rich(value, fields)
    return fields


def to_json(value, add, budget, depth):
    """Strict JSON: raises for what has no form of its own in it."""
    if depth > 200:
        raise ValueError("too deep")
    if value is None:
        text = "null"
    elif value is True:
        text = "true"
    elif value is False:
        text = "false"
    elif isinstance(value, str):
        text = quote(value)
    elif isinstance(value, int):
        text = int.__repr__(value)
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError("not in JSON")
        text = float.__repr__(value)
    elif isinstance(value, (list, tuple)):
        add("[")
        for i, item in enumerate(value):
            if i:
                add(",")
            to_json(item, add, budget, depth + 1)
        text = "]"
    elif isinstance(value, dict):
        add("{")
        for i, (k, v) in enumerate(value.items()):
            if not isinstance(k, str):
                if not (k is None or isinstance(k, (int, float))):
                    raise TypeError("key")
                key = []
                to_json(k, key.append, budget, depth)
                k = key[0]
            add((',' if i else '') + quote(k) + ":")
            budget[0] -= len(k)
            to_json(v, add, budget, depth + 1)
        text = "}"
    else:
        raise TypeError("no JSON form")
    budget[0] -= len(text) + 1
    if budget[0] < 0:
        raise ValueError("too large")
    add(text)


def quote(text):
    try:
        from _json import encode_basestring_ascii
    except ImportError:
        from json.encoder import encode_basestring_ascii
    return encode_basestring_ascii(text)


METHODS = (
    ("text/html", "_repr_html_"), ("text/markdown", "_repr_markdown_"), ("image/svg+xml", "_repr_svg_"),
    ("image/png", "_repr_png_"), ("image/jpeg", "_repr_jpeg_"), ("text/latex", "_repr_latex_"),
)


def rich(value, fields):
    """Appends the forms that notebooks show, by media type, in base64."""
    from binascii import b2a_base64
    forms = {}
    bundle = attempt(value, "_repr_mimebundle_")
    if isinstance(bundle, tuple) and bundle:
        bundle = bundle[0]
    if isinstance(bundle, dict):
        forms.update((k, v) for k, v in bundle.items() if isinstance(k, str) and k != "text/plain")
    for media, method in METHODS:
        if media not in forms:
            forms[media] = attempt(value, method)
    if forms.get("image/png") is None and callable(getattr(type(value), "savefig", None)):
        forms["image/png"] = picture(value)
    left = RICH_LIMIT
    for media, data in forms.items():
        if isinstance(data, tuple) and data:  # (data, metadata)
            data = data[0]
        if isinstance(data, str) and media.startswith("image/") and media != "image/svg+xml":
            data = data.encode()  # already base64, as IPython allows
        elif isinstance(data, (bytes, bytearray, str)):
            data = b2a_base64(data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data, newline=False)
        elif isinstance(data, (dict, list)):
            try:
                parts = []
                to_json(data, parts.append, [left], 0)
                data = b2a_base64("".join(parts).encode(), newline=False)
            except (TypeError, ValueError):
                continue
        else:
            continue
        left -= len(data)
        if left < 0:
            break
        fields += (media.encode(), data)


def attempt(value, method):
    """Calls a method of the value's class; a failing form is no form."""
    if not callable(getattr(type(value), method, None)):
        return None
    try:
        return getattr(value, method)()
    except BaseException:
        return None


def picture(figure):
    try:
        import io
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        return buffer.getvalue()
    except BaseException:
        return None
