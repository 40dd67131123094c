package scripts

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

func TestBind(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                   "",
		"return 1+1":                         "return 1+1",
		"return $x + $y_2":                   "return _var_x + _var_y_2",
		"$x\n$x":                             "_var_x\n_var_x",
		"# $x\n$x # $x":                      "# $x\n_var_x # $x",
		`"$x" + '$x' + $x`:                   `"$x" + '$x' + _var_x`,
		`r"\" + $x`:                          `r"\" + $x`, // the string goes on to its end
		`'it\'s $x' + $x`:                    `'it\'s $x' + _var_x`,
		"\"\"\"$x\n\"$x\" '''\n\"\"\"+$x":    "\"\"\"$x\n\"$x\" '''\n\"\"\"+_var_x",
		"'''$x'''+rb'$x'+$x":                 "'''$x'''+rb'$x'+_var_x",
		"'$x\n$x":                            "'$x\n_var_x", // a string that is not closed ends with its line
		"'a\\\n$x'+$x":                       "'a\\\n$x'+_var_x",
		`f"{$x} $x {{$x}} ${$x}"`:            `f"{_var_x} $x {{$x}} ${_var_x}"`,
		`f"{$x:>{$w}} {$x!r:>10} {a['$x']}"`: `f"{_var_x:>{_var_w}} {_var_x!r:>10} {a['$x']}"`,
		`f"{ {'a': $x}['a'] }" f'{$x=}'`:     `f"{ {'a': _var_x}['a'] }" f'{_var_x=}'`,
		`F'''{$x
}''' + fr"\{$x}"`: `F'''{_var_x
}''' + fr"\{_var_x}"`,
		`f"\N{DOLLAR SIGN}$x{$x}" f"{"$x"}{$x}"`: `f"\N{DOLLAR SIGN}$x{_var_x}" f"{"$x"}{_var_x}"`,
		"a = $x; b = $x == 1":                    "a = _var_x; b = _var_x == 1",
		"$x.a = 1; $x[0] = 1; b[$x] = 1":         "_var_x.a = 1; _var_x[0] = 1; b[_var_x] = 1",
		"f(a=$x, *$y, **$z)":                     "f(a=_var_x, *_var_y, **_var_z)",
		"def f(a=$x, *b): return $x":             "def f(a=_var_x, *b): return _var_x",
		"g = lambda a=$x: $x":                    "g = lambda a=_var_x: _var_x",
		"for a in $x: print($x)":                 "for a in _var_x: print(_var_x)",
		"[a for a in $x if a < $y]":              "[a for a in _var_x if a < _var_y]",
		"with open($x) as f, g($y) as h: pass":   "with open(_var_x) as f, g(_var_y) as h: pass",
		"if $x:\n pass\nelif $x == 2: a = $x":    "if _var_x:\n pass\nelif _var_x == 2: a = _var_x",
		"while ($x): a += $x":                    "while (_var_x): a += _var_x",
		"a: int = $x":                            "a: int = _var_x",
		"a[1:$x] = {$x: $y}":                     "a[1:_var_x] = {_var_x: _var_y}",
		"(a, b[$x]) = $x, 1":                     "(a, b[_var_x]) = _var_x, 1",
		"a = b = f($x)(y)[$x]":                   "a = b = f(_var_x)(y)[_var_x]",
		"_var_x = 1\n$x":                         "_var_x = 1\n_var1_x",
		"print('_var1_ _var_')\n$x":              "print('_var1_ _var_')\n_var2_x",
		"$ x $1 $":                               "$ x $1 $",
		"a = (\n $x,\n # $x\n)":                  "a = (\n _var_x,\n # $x\n)",
		"a = \\\n $x":                            "a = \\\n _var_x",
		"match $x:\n case a.b if $x: $y\n case $x.a | $y(1): pass": "match _var_x:\n case a.b if _var_x: _var_y\n case _var_x.a | _var_y(1): pass",
		"case = $x; case($x); match($x)":                           "case = _var_x; case(_var_x); match(_var_x)",
		"x = 1e5+$x .5 0x1f":                                       "x = 1e5+_var_x .5 0x1f",
	} {
		got, err := bind("script", in)
		if err != nil || got.source != want {
			t.Errorf("%q became %q, %v; want %q", in, got.source, err, want)
			continue
		}
		if strings.Count(got.source, "\n") != strings.Count(in, "\n") {
			t.Errorf("%q has other lines", in)
		}
		if back := unbind(got.source, got.prefix); back != in {
			t.Errorf("%q came back as %q", in, back)
		}
	}
}

func TestAssignmentIsRefused(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"$x = 1", "$x=1", "a = $x = 1", "$x, y = 1, 2", "(a, $x) = 1, 2", "[a, [$x]] = 1, 2", "*$x, a = b", "$x += 1", "$x //= 2", "$x **= 2", "$x: int = 1", "$x: int",
		"if 1: $x = 1", "if 1:\n\t$x = 1", "a = 1; $x = 2", "for $x in a: pass", "for a, ($x, b) in c: pass", "[1 for $x in a]", "{a: b for a, $x in c}",
		"async for $x in a: pass", "with a as $x: pass", "with a as b, c as $x: pass", "with a as (b, $x): pass", "with (a as $x, b): pass",
		"import a as $x", "import $x", "from a import b as $x", "from $x import a", "try: pass\nexcept E as $x: pass", "del $x", "del a, $x", "global $x", "nonlocal $x",
		"($x := 1)", "if ($x := f()): pass", "def f($x): pass", "def f(a, $x=1): pass", "def f(*$x): pass", "def f(**$x): pass", "def $x(): pass", "class $x: pass",
		"lambda $x: 1", "lambda a, *$x: 1", "f($x=1)", "f(a, $x=1)", "a.$x", "a.$x = 1", `f"{($x := 1)}"`, "a = \\\n$x = 1", "x = 1\n\n  $x \\\n = 2",
		"match 1:\n case $x: pass", "match 1:\n case 1 | [a, *$x] if $y: pass", "match 1:\n case {'a': ($x)}: pass", "match 1:\n case A(b=$x): pass",
		"match 1:\n case {**$x}: pass", "match 1:\n case [" + strings.Repeat("1, ", 100) + "\n$x]: pass",
	} {
		got, err := bind("script", in)
		if remuda.CodeOf(err) != remuda.CodeInvalid || !strings.Contains(err.Error(), "$x") {
			t.Errorf("%q became %q, %v; want a refusal that names $x", in, got.source, err)
		}
	}
	_, err := bind("scriptContent", "a = 1\nb = 2\n$total = 3")
	if err == nil || !strings.Contains(err.Error(), "$total in line 3") || !strings.Contains(err.Error(), "scriptContent") {
		t.Errorf("got %v", err)
	}
	var many strings.Builder
	for i := range 257 {
		fmt.Fprintf(&many, "$v%d\n", i)
	}
	if _, err := bind("script", many.String()); err == nil || !strings.Contains(err.Error(), "$v256 in line 257, which is one variable too many") {
		t.Errorf("got %v", err)
	}
	for _, in := range []string{"$é", "$aé", "$" + strings.Repeat("a", 49)} {
		if _, err := bind("script", in); remuda.CodeOf(err) != remuda.CodeInvalid {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// FuzzBind wants every source to be split without loss, and what is rewritten to
// come back.
func FuzzBind(f *testing.F) {
	for _, seed := range []string{
		"return $x", "f\"{$x:>{$w}}\"", "'''$x", "f'{", "f'{a:{b:{c:{d", "$", "\\", "(((", ")))", "a = $x = 1", "lambda $x: $y", "with a as (", "def f(", "\r\n$x\r", "f'{(}'", "\xff$x", "for", "as",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, src string) {
		at := 0
		for _, tok := range lex(src) {
			if tok.start < at && tok.kind != tokenOperator && tok.kind != tokenVariable && tok.kind != tokenName && tok.kind != tokenValue {
				t.Fatalf("token %+v of %q goes back", tok, src)
			}
			if tok.kind == tokenVariable && (src[tok.start] != '$' || !strings.HasPrefix(src[tok.start+1:], tok.text)) {
				t.Fatalf("token %+v is not in %q", tok, src)
			}
			at = tok.start
		}
		b, err := bind("script", src)
		if err != nil {
			return
		}
		if b.prefix == "" && b.source != src || b.prefix != "" && (unbind(b.source, b.prefix) != src || len(b.used) == 0) {
			t.Fatalf("%q became %q", src, b.source)
		}
	})
}

// A hostile script must not cost more than its length.
func TestBindIsLinear(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"for ", "lambda ", "as (", "def f(", "($x", ",$x=", "f\"{", "f'{a:{", "[", "$x,", "case $z.a:", "case [", "$x=", "a[$x]=", "'", "\\\n"} {
		src := strings.Repeat(part, remuda.MaxScriptBytes/16/len(part)) + "$y"
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = bind("script", src)
		}()
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Fatalf("%d times %q takes too long", len(src)/len(part), part)
		}
	}
}
