package guestinit_test

import (
	"testing"

	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

func TestNode(t *testing.T) {
	fail := func(kind, text, trace string) want {
		return want{state: "error", code: 1, errType: kind, errText: text, trace: trace}
	}
	runScenarios(t, remuda.LanguageNode, []scenario{
		{"values", []step{
			{script("1+1"), want{json: "2", text: "2"}},
			{script("'x'"), want{json: `"x"`, text: "x"}},
			{script("undefined"), want{noValue: true}},
			{script("null"), want{json: "null", text: "null"}},
			{script("({a: [1, {b: 2}]})"), want{json: `{"a":[1,{"b":2}]}`, text: "{ a: [ 1, { b: 2 } ] }"}},
			{script("[NaN]"), want{text: "[ NaN ]"}},
			{script("10n"), want{text: "10n"}},
			{script("Promise.resolve(4)"), want{json: "4"}},
		}},
		{"state", []step{
			{script("const a = 1; let b = 2; var c = 3; function f() { return a + b + c }"), want{}},
			{script("f()"), want{json: "6"}},
			{script("const a = 10; let b = 20; a + b"), want{json: "30"}},
			{script("const d = await Promise.resolve(5); d"), want{json: "5"}},
			{script("d + 1"), want{json: "6"}},
			{script("if (d) return d * 2"), want{json: "10"}},
			{script("const e = await 6\nreturn e"), want{json: "6"}},
			{script("require('path').join('a', 'b')"), want{json: `"a/b"`}},
		}},
		{"dynamic import", []step{
			{script("(await import('node:os')).EOL"), want{json: `"\n"`}},
			{script("import('node:os').then((os) => os.EOL)"), want{json: `"\n"`}},
			{script("const fs = require('fs')\nfor (const d of ['node_modules/bare', 'sub']) fs.mkdirSync(d, { recursive: true })\nfs.writeFileSync('node_modules/bare/index.js', 'module.exports = 1'); fs.writeFileSync('here.mjs', 'export default 2'); fs.writeFileSync('sub/there.mjs', 'export default 3')\nfs.writeFileSync('sub/main.js', 'import(\"./there.mjs\").then((m) => m.default + 1)') // it's import('x')\nfs.writeFileSync('sub/waits.js', 'const m = await import(\"./there.mjs\"); m.default')"), want{}},
			{script("(await import('bare')).default + (await import('./here.mjs')).default"), want{json: "3"}},
			{script("import('./here.mjs').then((m) => m.default)"), want{json: "2"}},
			{script("const later = import('./here.mjs');\n/it's/.test('');\n(await later).default + `import(` + await import('./here.mjs').then((m) => m.default)"), want{json: `"2import(2"`}},
			{protocol.Execute{CodeFile: "sub/main.js"}, want{json: "4"}},
			{protocol.Execute{CodeFile: "sub/waits.js"}, want{json: "3"}},
			{script("import('./nowhere.mjs')"), want{state: "error", code: 1, errType: "Error", errText: "Cannot find module '/workspace/nowhere.mjs'"}},
		}},
		{"errors", []step{
			{script("function g() {\n  throw new TypeError('bad')\n}\ng()"), fail("TypeError", "bad", "<script>:2\n  throw new TypeError('bad')\n  ^\n\nTypeError: bad\n    at g (<script>:2:9)\n    at <script>:4:1\n")},
			{script("let x =\n ("), fail("SyntaxError", "Unexpected end of input", "...<script>:2\n")},
			{script("setTimeout(() => { throw new RangeError('late') }, 1); await new Promise(r => setTimeout(r, 5000))"), fail("RangeError", "late", "...<script>:1:26")},
			{script("Promise.reject(new Error('rejected')); await new Promise(r => setTimeout(r, 5000))"), fail("Error", "rejected", "...")},
			{script("throw 'text'"), fail("string", "text", "...Uncaught")},
			{script("'still here'"), want{json: `"still here"`}},
		}},
		{"exit in a runspace", []step{
			{script("var v = 1; process.exit(3)"), want{state: "error", code: 3, errType: "ExitStatus"}},
			{script("process.exitCode = 4"), want{state: "error", code: 4}},
			{script("v"), want{json: "1"}},
			{script("process.reallyExit(5)"), want{state: "error", code: 5, dead: true}},
		}},
		{"last run waits for its work", []step{
			{final("setTimeout(() => console.log('timer'), 20); process.on('exit', () => console.log('exit')); 42"), want{json: "42", stdout: "timer\nexit\n"}},
		}},
		{"last run that exits", []step{
			{final("process.on('exit', (c) => console.log('exit', c)); setTimeout(() => process.exit(3), 5)"), want{state: "error", code: 3, stdout: "exit 3\n"}},
		}},
		{"last run that fails late", []step{
			{final("setTimeout(() => { throw new Error('late') }, 5); 1"), fail("Error", "late", "...")},
		}},
		{"last run that waits in vain", []step{
			{final("await new Promise(() => {})"), want{state: "error", code: 13, errText: "never happen"}},
		}},
		{"request", []step{
			{protocol.Execute{Script: "process.argv.slice(1)", Args: []string{"a b"}}, want{json: `["<script>","a b"]`}},
			{protocol.Execute{Script: "fs = require('fs'); fs.readFileSync(0, 'utf8') + process.env.E", Stdin: []byte("in"), Env: map[string]string{"E": "e"}}, want{json: `"ine"`}},
			{protocol.Execute{Script: "s = ''; for await (const c of process.stdin) s += c; s", Stdin: []byte("in2")}, want{json: `"in2"`}},
			{script("process.env.E === undefined && fs.readFileSync(0, 'utf8')"), want{json: `""`}},
			{params("p.a + 1", "p", `{"a": 1}`), want{json: "2"}},
			{params("1", "a-b", "1"), want{state: "error", code: 1, errType: "TypeError", errText: `"a-b"`}},
			{script("fs.writeFileSync('m.js', 'module.exports = 7'); fs.writeFileSync('a.js', 'require(\"./m\") + __filename + (require.main === module)')"), want{}},
			{protocol.Execute{CodeFile: "a.js"}, want{json: `"7/workspace/a.jstrue"`}},
		}},
		{"workers and zlib", []step{
			{script("const { Worker } = require('worker_threads'); await new Promise((done) => new Worker('require(\"worker_threads\").parentPort.postMessage(require(\"zlib\").gunzipSync(require(\"zlib\").gzipSync(\"w\")).toString())', { eval: true }).on('message', done))"), want{json: `"w"`}},
		}},
		{"channel out of reach of children", []step{
			{script("require('child_process').execSync('ls -l /proc/self/fd | tail -n +5', { stdio: ['ignore', 'pipe', 'inherit'] }).toString().includes('socket')"), want{json: "false"}},
		}},
		{"streams", []step{
			{script("console.log('out'); console.error('err')"), want{stdout: "out\n", stderr: "err\n"}},
		}},
	})
}

func TestBash(t *testing.T) {
	fail := func(code int, text string) want {
		return want{state: "error", code: code, errType: "ExitStatus", errText: text}
	}
	runScenarios(t, remuda.LanguageBash, []scenario{
		{"state", []step{
			{script("x=5; arr=(a 'b c'); f() { echo f $1 $x; }; cd /tmp; shopt -s extglob"), want{noValue: true}},
			{script("f 1; pwd; echo \"${arr[1]}\"; [[ aab == +(a)b ]] && echo ext"), want{stdout: "f 1 5\n/tmp\nb c\next\n"}},
			{script("x=6\nexit 3\necho no"), want{state: "error", code: 3, errType: "ExitStatus", stdout: ""}},
			{script("f 2; pwd; echo \"${arr[1]}\"; [[ aab == +(a)b ]] && echo ext"), want{stdout: "f 2 6\n/tmp\nb c\next\n"}},
			{script("g() { x=7; exit 4; }; g"), fail(4, "status 4")},
			{script("f 3"), want{stdout: "f 3 7\n"}},
			{script("echo $$ >/workspace/pid; exit 0"), want{}},
			{script("[[ $$ == $(</workspace/pid) ]] && echo same"), want{stdout: "same\n"}},
		}},
		{"stderr closed", []step{
			{script("exec 2>&-; false"), fail(1, "line 1: false")},
			{script("trap 'echo bye' EXIT; true"), want{stdout: "bye\n"}},
			{script("exec 1>&-; echo x; x=3"), want{}},
			{script("[[ $x == 3 ]]; exit 5"), fail(5, "status 5")},
			{script("exit $x"), fail(3, "status 3")},
		}},
		{"errors", []step{
			{script("true\nfoo\necho on"), want{stdout: "on\n", stderr: "<script>: line 2: foo: command not found\n"}},
			{script("true\nfalse"), fail(1, "line 2: false")},
			{script("set -e\ntrue\nfalse\necho no"), fail(1, "line 3: false")},
			{script("echo on"), want{stdout: "on\n"}},
			{script("set -u\necho $nope"), want{state: "error", code: 127, stderr: "<script>: line 2: nope: unbound variable"}},
			{script("if then"), want{state: "error", code: 2, stderr: "syntax error"}},
			{script("set -x; true"), want{stderr: "+ true\n"}},
			{script("echo quiet"), want{stdout: "quiet\n"}},
			{protocol.Execute{Script: "nosuch", Name: "job.sh"}, want{state: "error", code: 127, stderr: "job.sh: line 1: nosuch: command not found\n"}},
		}},
		{"traps of the script", []step{
			{script("trap 'echo bye' EXIT; echo hi"), want{stdout: "hi\nbye\n"}},
			{script("echo again"), want{stdout: "again\n"}},
			{script("trap 'echo err' ERR; false; true"), want{stdout: "err\n"}},
			{script("trap 'echo bye' EXIT; exit 5"), want{state: "error", code: 5, stdout: "bye\n", dead: true}},
		}},
		{"last run", []step{
			{final("echo a; exit 6"), want{state: "error", code: 6, stdout: "a\n"}},
		}},
		{"exec", []step{
			{script("exec sh -c 'echo gone; exit 9'"), want{state: "error", code: 9, stdout: "gone\n", dead: true}},
		}},
		{"request", []step{
			{protocol.Execute{Script: `echo "$0" "$#" "$2"`, Args: []string{"a", "b c"}, Name: "n"}, want{stdout: "n 2 b c\n"}},
			{protocol.Execute{Script: "read a; cat; sh -c 'echo $E'", Stdin: []byte("l\nrest\n"), Env: map[string]string{"E": "e'1", "HOME": "/h"}}, want{stdout: "rest\ne'1\n"}},
			{script("cat; echo ${E-none} $HOME"), want{stdout: "none /workspace\n"}},
			{params(`echo "$s|$n|$o|$z"`, "s", `"a\n'b"`, "n", "1.5", "o", ` {"a": [1]} `, "z", "null"), want{stdout: "a\n'b|1.5|{\"a\":[1]}|\n"}},
			{params("echo", "a-b", "1"), want{state: "error", code: 1, errText: "a-b"}},
			{script("a\x00b"), want{state: "error", code: 1, errText: "NUL"}},
			{script("printf 'echo in $0 $1; return 4' >s.sh"), want{}},
			{protocol.Execute{CodeFile: "s.sh", Args: []string{"x"}}, want{state: "error", code: 4}},
		}},
		{"channel out of reach of children", []step{
			{script("ls -l /proc/self/fd | grep -c -e socket -e memfd:script"), want{state: "error", code: 1, stdout: "0\n"}},
		}},
		{"what a script may do to the shell", []step{
			{script("printf() { echo mine; }; read() { :; }; IFS=x; set -f; exec 10</dev/null"), want{}},
			{script("printf; set -f"), want{stdout: "mine\n"}},
			{script("exit 2"), fail(2, "")},
			{script("printf"), want{stdout: "mine\n"}},
		}},
		{"pipeline", []step{
			{script("seq 1 1000 | sort -rn | head -1 | tr 0-9 a-j"), want{stdout: "baaa\n"}},
		}},
	})
}
