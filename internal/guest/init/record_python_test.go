package guestinit_test

import (
	"encoding/json"
	"testing"

	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

const allLevels = "import logging\nlogging.debug('d %d', 1)\nlogging.log(15, 'v')\nlogging.info('i')\nlogging.warning('w')\nlogging.error('e')\nlogging.critical('c')"

const allTold = "debug: d 1\nverbose: v\ninformation: i\nwarning: w\nerror: e\nerror: c"

func TestPythonStreams(t *testing.T) {
	t.Parallel()
	runRecords(t, remuda.LanguagePython, map[string][]recordStep{
		"levels": {
			{run: streams(allLevels), told: allTold},
			// Without the flag all is as ever: the hooks are gone.
			{run: script("log = logging.getLogger('x')\nlog.info('i')\nlog.warning('w')"), stderr: "w\n"},
			{run: script("logging.root.level, type(logging.root.level) is int, logging.root.handlers, logging.lastResort.level, len(logging._handlerList)"), json: "[30,true,[],30,1]"},
			{run: script("[f.__module__ for f in (logging.Logger.isEnabledFor, logging.Logger.callHandlers, logging.basicConfig)]"), json: `["logging","logging","logging"]`},
			{run: streams(allLevels), told: allTold},
			{run: script(allLevels), stderr: "WARNING:root:w\nERROR:root:e\nCRITICAL:root:c\n"},
		},
		"named loggers": {
			{run: streams("import logging\nlog = logging.getLogger('a.b')\nlog.debug('one')\nlogging.getLogger('a').setLevel('ERROR')\nlog.warning('two')\nlog.error('three')"), told: "debug: one\nerror: three"},
			{run: streams("log.warning('no')\nlog.propagate = False\nlog.error('yes')"), told: "error: yes"},
			{run: streams("logging.disable(logging.ERROR)\nlogging.error('no')\nlogging.critical('yes')"), told: "error: yes"},
		},
		"basicConfig": {
			{run: streams("import logging\nlogging.basicConfig(format='%(levelname)s:%(message)s', level=logging.INFO)\nlogging.debug('d')\nlogging.info('i')\nlogging.error('e')"), told: "information: i\nerror: e", stderr: "INFO:i\nERROR:e\n"},
			{run: streams("logging.info('again')"), told: "information: again", stderr: "INFO:again\n"},
			{run: streams("logging.basicConfig(force=True, format='%(message)s', level=30)\nlogging.info('no')\nlogging.warning('w')"), told: "warning: w", stderr: "w\n"},
			{run: streams("logging.info('no')"), told: ""},
		},
		"basicConfig without a level": {
			// Its handler gets what it would get without us, the streams all.
			{run: streams("import logging\nlogging.basicConfig(format='%(message)s')\nlogging.debug('d')\nlogging.warning('w')"), told: "debug: d\nwarning: w", stderr: "w\n"},
			{run: script("logging.debug('d')\nlogging.warning('w')"), stderr: "w\n"},
		},
		"tracebacks and bad arguments": {
			{run: streams("import logging\ntry:\n    1/0\nexcept Exception:\n    logging.exception('oh')"), told: "error: oh\nTraceback (most recent call last):\n  File \"<script>\", line 3, in <module>\n    1/0\n    ~^~\nZeroDivisionError: division by zero"},
			{run: streams("logging.error('%d', 'x')"), told: "error: %d"},
		},
		"warnings": {
			{run: streams("import warnings\nwarnings.warn('careful')\nwarnings.warn('old', DeprecationWarning)"), told: "warning: UserWarning: careful\nwarning: DeprecationWarning: old"},
			{run: streams("x = 1 is 1"), told: "warning: SyntaxWarning: \"is\" with a literal. Did you mean \"==\"?"},
			{run: streams("warnings.simplefilter('ignore')\nwarnings.warn('no')"), told: ""},
			{run: streams("with warnings.catch_warnings(record=True) as w:\n    warnings.simplefilter('always')\n    warnings.warn('kept')\nstr(w[0].message)"), json: `"kept"`},
			{run: streams("warnings.simplefilter('error')\ntry:\n    warnings.warn('raised')\nexcept UserWarning as e:\n    x = str(e)\nx"), json: `"raised"`},
			{run: streams("warnings.simplefilter('always')\nlogging = __import__('logging')\nlogging.captureWarnings(True)\nwarnings.warn('by logging')\nlogging.captureWarnings(False)"), told: "warning: <script>:4: UserWarning: by logging\n  warnings.warn('by logging')\n"},
			{run: script("warnings.warn('out')"), stderr: "...UserWarning: out"},
			{run: script("warnings._showwarnmsg_impl.__module__"), json: `"warnings"`},
		},
		"errors": {
			{run: streams("raise ValueError('no')"), told: "error: ValueError: no", errText: "no"},
			{run: streams("1 +"), told: "error: SyntaxError: invalid syntax (<script>, line 1)", errText: "invalid syntax"},
			{run: streams("import sys; sys.exit(3)"), errText: "3"},
		},
		"replaced standard error": {
			{run: streams("import sys, io, logging\nkeep, sys.stderr = sys.stderr, io.StringIO()\nlogging.warning('w')\nprint('p', file=sys.stderr)\ntext, sys.stderr = sys.stderr.getvalue(), keep\ntext"), told: "warning: w", json: `"p\n"`},
			{run: streams("sys.stderr = None\nlogging.warning('w')"), told: "warning: w"},
			{run: streams("print('back', file=sys.stderr)"), stderr: "back\n"},
		},
		"kept hooks do nothing later": {
			{run: streams("import logging\nold = logging.Logger.callHandlers\nlogging.Logger.callHandlers = lambda self, r: old(self, r)\nlogging.warning('w')"), told: "warning: w"},
			{run: script("logging.getLogger('x').warning('w')"), stderr: "w\n"},
			{run: streams("logging.warning('w')"), told: "warning: w"},
		},
		"order with output": {
			{run: streams("import logging, sys\nprint('a')\nlogging.info('b')\nprint('c')"), told: "information: b", stdout: "a\nc\n"},
		},
		"a child tells nothing": {
			{run: streams("import os, logging\nif not os.fork():\n    logging.info('child')\n    logging.error('child')\n    os._exit(0)\nos.wait()\nlogging.info('parent')"), told: "information: parent", stderr: "ERROR:root:child\n"},
		},
		"logging is not imported for it": {
			{run: streams("import sys\nnames = [type(f).__name__ for f in sys.meta_path]\n'logging' in sys.modules"), json: "false"},
			{run: script("len(names) - len(sys.meta_path), [type(f).__name__ for f in sys.meta_path] == names[1:]"), json: "[1,true]"},
			{run: streams("import logging.handlers\nlogging.info('i')\nn = logging.__spec__.loader is logging.__loader__, type(logging.__loader__).__name__, logging.__spec__.name\nn"), told: "information: i", json: `[true,"SourceFileLoader","logging"]`},
			{run: script("len(names) - len(sys.meta_path), logging.Logger.callHandlers.__module__"), json: `[1,"logging"]`},
		},
		"no streams asked for": {
			{run: script("import logging\nlogging.error('e')"), stderr: "ERROR:root:e\n"},
		},
	})
}

func TestPythonObjects(t *testing.T) {
	t.Parallel()
	object := func(kind, interfaces, value string) string {
		return `object: {"TypeName":"` + kind + `","Interfaces":[` + interfaces + `],"Value":` + value + `}`
	}
	runRecords(t, remuda.LanguagePython, map[string][]recordStep{
		"scalars": {
			{run: objects("1 + 1"), told: object("builtins.int", "", "2"), json: "2"},
			{run: objects("True"), told: object("builtins.bool", `"builtins.int"`, "true"), json: "true"},
			{run: objects("'a\"b'"), told: object("builtins.str", "", `"a\"b"`), json: `"a\"b"`},
			{run: objects("float('inf')"), told: object("builtins.float", "", `"inf"`)},
			{run: objects("10**5000"), told: object("builtins.int", "", `"<str() of this int raised ValueError>"`)},
			{run: objects("None")}, {run: objects("x = 1")},
			{run: objects("b'ab'"), told: object("builtins.bytes", "", `"b'ab'"`)},
			{run: objects("len"), told: object("builtins.builtin_function_or_method", "", `"<built-in function len>"`)},
		},
		"many": {
			{run: objects("[1, 'a', None, [1, [2]]]"), json: `[1,"a",null,[1,[2]]]`, told: object("builtins.int", "", "1") + "\n" + object("builtins.str", "", `"a"`) + "\n" + object("builtins.NoneType", "", "null") + "\n" + object("builtins.list", "", `[1,"[2]"]`)},
			{run: objects("(i * i for i in range(3))"), told: object("builtins.int", "", "0") + "\n" + object("builtins.int", "", "1") + "\n" + object("builtins.int", "", "4")},
			{run: objects("{7}"), told: object("builtins.int", "", "7")},
			{run: objects("[]"), json: "[]"},
			{run: objects("(1 // x for x in (1, 0))"), told: object("builtins.int", "", "1"), errText: "by zero"},
		},
		"structures": {
			{run: objects("{'a': 1, 2: {'x': [1]}, 'n': None}"), told: object("builtins.dict", "", `{"a":1,"2":"{'x': [1]}","n":null}`), json: `{"a":1,"2":{"x":[1]},"n":null}`},
			{run: objects("class P:\n def __init__(self): self.a, self._b, self.c = 1, 2, [3]\nP()"), told: object("__main__.P", "", `{"a":1,"c":"[3]"}`)},
			{run: objects("from collections import namedtuple\nN = namedtuple('N', 'x y')\nN(1, 'z')"), told: object("__main__.N", `"builtins.tuple"`, `{"x":1,"y":"z"}`), json: `[1,"z"]`},
		},
		"dates": {
			{run: objects("from datetime import *\nz = timezone(timedelta(hours=2))\n[datetime(2026, 1, 2, 3, 4, 5, tzinfo=z), datetime(2026, 1, 2, 3, 4, 5, 600), date(2026, 1, 2), {'t': datetime(2026, 1, 1, tzinfo=z)}]"),
				told: object("datetime.datetime", `"datetime.date"`, `"2026-01-02T01:04:05Z"`) + "\n" + object("datetime.datetime", `"datetime.date"`, `"2026-01-02T03:04:05.000600Z"`) + "\n" + object("datetime.date", "", `"2026-01-02"`) + "\n" + object("builtins.dict", "", `{"t":"2025-12-31T22:00:00Z"}`)},
		},
		"hostile": {
			{run: objects("class E:\n def __str__(self): raise ValueError\nE()"), told: object("__main__.E", "", `"<str() of this E raised ValueError>"`)},
			{run: objects("class M(type):\n __module__ = property(lambda s: 1/0)\n def __getattribute__(self, n): raise ValueError(n)\nclass E(metaclass=M): pass\n'fine'"), told: object("builtins.str", "", `"fine"`), json: `"fine"`},
		},
	})
}

func TestPythonObjectsAreBounded(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	r := s.exec(objects("(i for i in iter(int, 1))"))
	if len(r.whole) != 10000 || r.State != "success" {
		t.Errorf("an endless generator gives %d objects and ends as %s", len(r.whole), r.State)
	}
	r = s.exec(objects("[chr(0x20AC) * 300000, {str(i): i for i in range(100000)}, ['x' * 70000] * 5]"))
	if len(r.whole) != 3 || r.State != "success" {
		t.Fatalf("%d objects, %s %s", len(r.whole), r.State, r.Reason)
	}
	for i, rec := range r.whole {
		var o struct {
			TypeName string
			Value    any
		}
		if err := json.Unmarshal(rec.Data, &o); err != nil || len(rec.Data) < 30_000 || o.TypeName == "" {
			t.Errorf("object %d: %d bytes, %v", i, len(rec.Data), err)
		}
		if text, ok := o.Value.(string); !ok || text[len(text)-4:] != " ..." {
			t.Errorf("object %d is not marked as cut", i)
		}
	}
	r = s.exec(streams("import logging\nlogging.info('x' * 100000)\nlogging.info(chr(0x20AC) * 20000)"))
	for i, rec := range r.whole {
		if len(rec.Data) > 32<<10 || len(rec.Data) < 32<<10-8 {
			t.Errorf("message %d has %d bytes", i, len(rec.Data))
		}
	}
	if len(r.whole) != 2 {
		t.Errorf("%d messages", len(r.whole))
	}
}

func TestPythonAssignAndScratch(t *testing.T) {
	t.Parallel()
	assign := func(text, name string) protocol.Execute { return protocol.Execute{Script: text, Assign: name} }
	scratch := params("len(credentials['password'])", "credentials", `{"user":"u","password":"canary-4711"}`)
	scratch.Scratch = []string{"credentials", "never_there"}
	runRecords(t, remuda.LanguagePython, map[string][]recordStep{
		"assign": {
			{run: assign("import datetime\ndatetime.date(2026, 1, 2)", "day")}, // no value is told
			{run: script("day.year"), json: "2026"},
			{run: assign("x = 1", "day")},
			{run: script("day is None"), json: "true"},
			{run: assign("1", "not valid"), errText: "'not valid' is not a name"},
			{run: assign("1/0", "day"), errText: "division by zero"},
			{run: script("day is None"), json: "true"},
		},
		"scratch": {
			{run: scratch, json: "11"},
			{run: script("[n for n in ('credentials', 'never_there') if n in globals()]"), json: "[]"},
			{run: protocol.Execute{Script: "1/0", Parameters: scratch.Parameters, Scratch: scratch.Scratch}, errText: "division"},
			{run: script("'credentials' in globals()"), json: "false"},
			{run: script("credentials"), errText: "name 'credentials' is not defined"},
		},
	})
}
