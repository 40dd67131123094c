package guestinit_test

import (
	"encoding/json"
	"testing"

	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

func code(r result) int {
	if r.ExitCode == nil {
		return -1
	}
	return *r.ExitCode
}

func TestFirst(t *testing.T) {
	s := ready(t, remuda.LanguageNode)
	for _, e := range []protocol.Execute{
		{Script: "console.log('hi', process.argv.slice(1)); const x=5; function f(a) { return a*2 }; f(x)", Args: []string{"a", "b c"}},
		{Script: "x+1"},
		{Script: "const x=7; x"},
		{Script: "x+p.a[0]", Parameters: map[string]json.RawMessage{"p": []byte(`{"a":[1]}`)}},
		{Script: "const y = await Promise.resolve(8); y"},
		{Script: "y"}, {Script: "let y = 9; class K {}; y"},{Script: "let y = await 10; class K {}; y"},{Script: "let y = ("},
		{Script: "const m=1; for(;;);", TimeoutMS: 300},{Script: "m=1; for(;;);", TimeoutMS: 300},{Script: "1"},
		{Script: "const z = 3\nreturn z"},
		{Script: "const z = await 4\nreturn z"},
		{Script: "function g() {\n  throw new TypeError('bad')\n}\n\ng()"},
		{Script: "a b"},
		{Script: "let q =\n (1"},
		{Script: "process.exit(3)"},
		{Script: "setTimeout(() => { throw new Error('late') }, 5); await new Promise(r => setTimeout(r, 50))"},
		{Script: "Promise.reject(new Error('rej')); await new Promise(r => setTimeout(r, 50))"},
		{Script: "require('fs').readFileSync(0, 'utf8') + process.env.E", Stdin: []byte("input"), Env: map[string]string{"E": "eee"}},
		{Script: "let d=''; for await (const c of process.stdin) d+=c; d + process.env.E", Stdin: []byte("input2")},
		{Script: "({a: NaN, b: new Map([[1,2]])})"},
		{Script: "require('child_process').execSync('ls -l /proc/self/fd').toString()"},
		{Script: "setTimeout(() => console.log('timer'), 20); process.on('exit', () => console.log('exiting')); 42", KillOnTimeout: true},
	} {
		r := s.exec(e)
		t.Logf("%q -> %s code %d %q %q val %s %q err %q %q %q dead %v %s %d", e.Script, r.State, code(r), r.stdout, r.stderr, r.ValueJSON, r.ValueText, r.ErrType, r.ErrText, r.Traceback, r.Dead, r.Reason, r.WallUS)
	}
}
