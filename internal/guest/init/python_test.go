package guestinit_test

import (
	"encoding/base64"
	"testing"

	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

func TestPython(t *testing.T) {
	fail := func(kind, text, trace string) want {
		return want{state: "error", code: 1, errType: kind, errText: text, trace: trace}
	}
	runScenarios(t, remuda.LanguagePython, []scenario{
		{"values", []step{
			{script("1+1"), want{json: "2", text: "2"}},
			{script("'a\"\\u00e9\\n'"), want{json: `"a\"\u00e9\n"`, text: "a\"é\n"}},
			{script("x = 1"), want{noValue: true}},
			{script("None"), want{noValue: true}},
			{script(""), want{noValue: true}},
			{script("for i in range(3): i"), want{noValue: true}},
			{script("[1, 2.5, None, True, {'a': (1,), 3: 'x', None: 0}]"), want{json: `[1,2.5,null,true,{"a":[1],"3":"x","null":0}]`}},
			{script("True"), want{json: "true", text: "True"}},
			{script("float('nan')"), want{json: "", text: "nan"}},
			{script("[float('inf')]"), want{text: "[inf]"}},
			{script("{1, 2}"), want{text: "{1, 2}"}},
			{script("b'\\xff'"), want{text: `b'\xff'`}},
			{script("'\\ud800'"), want{json: `"\ud800"`, text: `\ud800`}},
			{script("a = []; a.append(a); a"), want{text: "[[...]]"}},
			{script("10**5000 and 7"), want{json: "7"}},
			{script("10**5000"), want{text: "<repr() of this int raised ValueError: Exceeds the limit (4300 digits) for integer string conversion; use sys.set_int_max_str_digits() to increase the limit>"}},
			{script("2**64"), want{json: "18446744073709551616", text: "18446744073709551616"}},
			{script("class X:\n def __repr__(self): raise ValueError('no')\nX()"), want{text: "<repr() of this X raised ValueError: no>"}},
		}},
		{"one line", []step{ // of which an expression is compiled without a tree
			{script("1+1\n"), want{json: "2", text: "2"}},
			{script("one = 1 # kept"), want{noValue: true}},
			{script("one # and a comment"), want{json: "1"}},
			{script("one; two = 2; one + two"), want{json: "3"}},
			{script("one; two = 2"), want{noValue: true}},
			{script("(three := 3)"), want{json: "3"}},
			{script("[three for _ in range(2)]"), want{json: "[3,3]"}},
			{script("*'ab', three"), want{json: `["a","b",3]`}},
			{script("import asyncio"), want{noValue: true}},
			{script("await asyncio.sleep(0, 4)"), want{json: "4"}},
			{script("__remuda_value__"), fail("NameError", "is not defined", "...")},
			{script(" 1"), fail("IndentationError", "unexpected indent", "...")},
			{script("1 +"), fail("SyntaxError", "invalid syntax", "...File \"<script>\", line 1\n    1 +\n")},
			{script("(lambda: 1/0)()"), fail("ZeroDivisionError", "division by zero", "...File \"<script>\", line 1, in <module>\n    (lambda: 1/0)()")},
			{script("import warnings\nseen = []\nwarnings.showwarning = lambda *a: seen.append(a)\nwarnings.simplefilter('always')"), want{}},
			{script("a = '\\d'"), want{}},
			{script("print('\\d'); a = 1"), want{stdout: "\\d\n"}},
			{script("a = 1 is 1"), want{}},
			{script("1 is 1"), want{json: "true"}},
			{script("len(seen)"), want{json: "4"}},
		}},
		{"return", []step{
			{script("x = 5\nif x:\n    return x + 1\nx = 99"), want{json: "6"}},
			{script("x"), want{json: "5"}},
			{script("try:\n    return 1\nexcept:\n    pass\nfinally:\n    y = 2"), want{json: "1"}},
			{script("y"), want{json: "2"}},
			{script("from os.path import *\nreturn basename('a/b')"), want{json: `"b"`}},
			{script("z: int = 3\nreturn z"), want{json: "3"}},
			{script("def f():\n    return 1\nf()"), want{json: "1"}},
			{script("from __future__ import annotations\n[q for q in range(3)]\nreturn q2 if (q2 := 4) else 0"), want{json: "4"}},
			{script("import asyncio\nreturn await asyncio.sleep(0, 8)"), want{json: "8"}},
			{script("return"), want{noValue: true}},
			{script("def g():\n    raise KeyError('k')\nif 1:\n    g()\nreturn 1"), fail("KeyError", "'k'", "Traceback (most recent call last):\n  File \"<script>\", line 4, in <module>\n    g()\n  File \"<script>\", line 2, in g\n    raise KeyError('k')\nKeyError: 'k'\n")},
		}},
		{"top-level await", []step{
			{script("import asyncio\nawait asyncio.sleep(0, 3)"), want{json: "3"}},
		}},
		{"errors", []step{
			{script("def f():\n    1/0\n\nf()"), fail("ZeroDivisionError", "division by zero", "...line 2, in f\n    1/0\n")},
			{script("a = 1\nb = (\n"), fail("SyntaxError", "was never closed", "...File \"<script>\", line 2\n    b = (\n        ^\nSyntaxError")},
			{script("x = 1\n  y = 2"), fail("IndentationError", "unexpected indent", "...")},
			{script("a\x00b"), want{state: "error", code: 1}},
			{script("try:\n    {}['a']\nexcept KeyError as e:\n    raise RuntimeError('second') from e"), fail("RuntimeError", "second", "...KeyError: 'a'\n\nThe above exception was the direct cause")},
			{script("def r(): r()\nr()"), fail("RecursionError", "maximum recursion depth", "...[Previous line repeated")},
			{script("import json\njson.loads('{')"), fail("json.decoder.JSONDecodeError", "Expecting property name", "...line 2, in <module>\n    json.loads('{')")},
			{script("class E(Exception): pass\nraise E('mine')"), fail("E", "mine", "...")},
			{script("raise BaseException"), fail("BaseException", "", "...")},
			{protocol.Execute{Script: "1/0", Name: "report.py"}, fail("ZeroDivisionError", "", "...File \"report.py\", line 1, in <module>\n    1/0\n")},
			{script("'still here'"), want{json: `"still here"`}},
		}},
		{"exit in a runspace", []step{
			{script("import sys; v = 1; sys.exit()"), want{}},
			{script("sys.exit(3)"), want{state: "error", code: 3, errType: "SystemExit", errText: "3"}},
			{script("exit('bye')"), want{state: "error", code: 1, stderr: "bye\n"}},
			{script("quit(0)"), want{}},
			{script("sys.exit(-1)"), want{state: "error", code: 255}},
			{script("v"), want{json: "1"}},
			{script("import os; os._exit(7)"), want{state: "error", code: 7, dead: true}},
		}},
		{"last run", []step{
			{final("import threading, time, atexit\natexit.register(print, 'atexit')\ndef w():\n    time.sleep(.05)\n    print('thread')\nthreading.Thread(target=w).start()\n'v'"), want{json: `"v"`, stdout: "thread\natexit\n"}},
		}},
		{"request", []step{
			{protocol.Execute{Script: "import sys; sys.argv", Args: []string{"a", "b c"}}, want{json: `["<script>","a","b c"]`}},
			{protocol.Execute{Script: "input() + sys.stdin.read()", Stdin: []byte("line\nrest")}, want{json: `"linerest"`}},
			{protocol.Execute{Script: "sys.stdin.read()", Stdin: []byte("again")}, want{json: `"again"`}},
			{script("sys.stdin.read()"), want{json: `""`}},
			{script("input()"), want{state: "error", code: 1, errType: "EOFError"}},
			{protocol.Execute{Script: "import os; os.environ['E'], os.system('test \"$E\" = e1')", Env: map[string]string{"E": "e1", "HOME": "/h"}}, want{json: `["e1",0]`}},
			{script("os.environ.get('E'), os.environ['HOME']"), want{json: `[null,"/workspace"]`}},
			{params("p['a'][1] + n, s", "p", `{"a": [1, 2.5]}`, "n", " 1 ", "s", `"é\u00e9"`), want{json: `[3.5,"\u00e9\u00e9"]`}},
			{params("1", "not-valid", "1"), want{state: "error", code: 1, errType: "ValueError", errText: "'not-valid'"}},
			{params("1", "class", "1"), want{state: "error", code: 1, errType: "ValueError", errText: "'class'"}},
			{script("__name__ == '__main__', os.getcwd(), sys.path[0], os.getuid()"), want{json: `[true,"/workspace","",1000]`}},
		}},
		{"environment before os is imported", []step{
			{protocol.Execute{Script: "import os; os.environ['E']", Env: map[string]string{"E": "1"}}, want{json: `"1"`}},
			{script("'E' in os.environ"), want{json: "false"}},
		}},
		{"code file", []step{
			{script("import os; os.mkdir('d'); open('d/m.py', 'w').write('K = 4'); open('d/a.py', 'w').write('import m, sys\\nx = (__file__, sys.path[0], m.K, __name__)\\nx')"), want{}},
			{protocol.Execute{CodeFile: "d/a.py"}, want{json: `["/workspace/d/a.py","/workspace/d",4,"__main__"]`}},
			{script("'__file__' in globals(), __import__('sys').path[0]"), want{json: `[false,""]`}},
			{protocol.Execute{CodeFile: "none.py"}, want{state: "error", code: 1, errType: "FileNotFoundError"}},
		}},
		{"streams", []step{
			{script("import sys, os; print('a'); print('b', file=sys.stderr); os.write(1, b'\\xff\\n'); os.system('echo c')"), want{stdout: "a\n\xff\nc\n", stderr: "b\n", json: "0"}},
			{script("open('/dev/stdout', 'w').write('d')"), want{stdout: "d"}},
			{script("sys.stdout.close()"), want{}},
			{script("print('back')"), want{stdout: "back\n"}},
		}},
		{"processes", []step{
			{script("import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'print(5)'], capture_output=True, text=True).stdout"), want{json: `"5\n"`}},
			{script("import multiprocessing\ndef f(x): return x * x\nwith multiprocessing.get_context('fork').Pool(2) as p: r = p.map(f, [1, 2, 3])\nr"), want{json: "[1,4,9]"}},
			{script("import pickle\nclass C: pass\npickle.loads(pickle.dumps(C())).__class__ is C"), want{json: "true"}},
			{script("import os\npid = os.fork()\nif pid: print(os.waitpid(pid, 0)[1] >> 8)\nelse: raise ValueError('child')"), want{stdout: "1\n", stderr: "ValueError: child"}},
			{script("1"), want{json: "1"}},
		}},
		{"channel out of reach of children", []step{
			{script("import subprocess\nsubprocess.run('ls -l /proc/self/fd', shell=True, capture_output=True, text=True, close_fds=False).stdout.count('socket')"), want{json: "0"}},
			{script("import os\nr, w = os.pipe()\nif not os.fork():\n    os.write(w, b'%d' % sum('socket' in os.readlink('/proc/self/fd/' + f) for f in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + f)))\n    os._exit(0)\nos.read(r, 9).decode()"), want{json: `"0"`}},
		}},
		{"a script that closes every descriptor", []step{
			{final("import os\nos.closerange(3, 2000)\nprint('fine')"), want{stdout: "fine\n", dead: true}},
		}},
		{"modules", []step{
			{script("import sys, ssl, sqlite3, ctypes, decimal, zlib, lzma, bz2, hashlib, curses, asyncio, unittest\nany(p.endswith('dist-packages') for p in sys.path)"), want{json: "true"}},
			{script("import inspect\ndef f():\n    return 1\ninspect.getsource"), want{}},
		}},
	})
}

func TestPythonRichForms(t *testing.T) {
	t.Parallel()
	s := ready(t, remuda.LanguagePython)
	r := s.exec(script("class F:\n def savefig(self, f, format): f.write(b'PNG' + format.encode())\n def _repr_html_(self): return '<b>é</b>'\n def _repr_svg_(self): raise ValueError\n def _repr_mimebundle_(self, **k): return {'application/x': {'a': 1}, 'text/plain': 'no'}\nF()"))
	for media, data := range map[string]string{"image/png": "PNGpng", "text/html": "<b>é</b>", "application/x": `{"a":1}`} {
		if got, err := base64.StdEncoding.DecodeString(r.Rich[media]); err != nil || string(got) != data {
			t.Errorf("%s is %q (%v), want %q", media, got, err, data)
		}
	}
	if len(r.Rich) != 3 {
		t.Errorf("the forms are %v, want 3", r.Rich)
	}
	if r := s.exec(script("class B:\n def _repr_html_(self): return 'x' * (20 << 20)\nB()")); len(r.Rich) != 0 || r.State != "success" {
		t.Errorf("a form over the limit: state %s with %d forms", r.State, len(r.Rich))
	}
	if r := s.exec(script("'x' * (30 << 20)")); r.ValueJSON != nil || len(r.ValueText) > 2<<20 {
		t.Errorf("a huge value: %d bytes of JSON, %d of text", len(r.ValueJSON), len(r.ValueText))
	}
}
