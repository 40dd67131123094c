# The end of the fourth part of the Python driver: objects as records. It is
# compiled with driver_records.py, as one text.

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
