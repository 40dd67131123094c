package guestinit_test

import (
	"encoding/json"
	"testing"

	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

const allNode = "console.debug('d %d', 1); console.trace('t'); console.info('i', {a: 1}); console.warn('w'); console.error('e'); console.log('o')"

const allNodeTold = "debug: d 1\nverbose: Trace: t\n    at <script>:1:35\ninformation: i { a: 1 }\nwarning: w\nerror: e"

func TestNodeStreams(t *testing.T) {
	t.Parallel()
	runRecords(t, remuda.LanguageNode, map[string][]recordStep{
		"console": {
			{run: streams(allNode), told: allNodeTold, stdout: "o\n"},
			{run: script("console.info('i'); console.error('e')"), stdout: "i\n", stderr: "e\n"},
			{run: streams("console.assert(false, 'x')"), told: "warning: Assertion failed: x"},
			{run: streams("throw new TypeError('no')"), told: "error: TypeError: no", errText: "no"},
			{run: streams("await 1; throw new TypeError('later')"), told: "error: TypeError: later", errText: "later"},
			{run: streams("process.exit(3)"), errText: "status 3"},
			{run: streams("null.x"), told: "error: TypeError: Cannot read properties of null (reading 'x')", errText: "null"},
		},
		"kept methods": {
			{run: streams("globalThis.info = console.info; console.warn = () => {}; console.warn('x'); info('mine')"), told: "information: mine"},
			{run: script("info('out'); console.warn('x')"), stdout: "out\n"},
		},
		"asynchronous": {
			{run: streams("await new Promise((r) => setTimeout(() => { console.info('tick'); r(); }, 5)); 7"), told: "information: tick", json: "7"},
			{run: streams("globalThis.later = () => console.info('late'); 1"), json: "1"},
			{run: script("setTimeout(later, 5); await new Promise((r) => setTimeout(r, 20)); 2"), stdout: "late\n", json: "2"},
		},
		"last run": {
			{run: protocol.Execute{Script: "console.info('a'); setTimeout(() => { console.warn('b') }, 5); 1", Streams: true, KillOnTimeout: true}, told: "information: a\nwarning: b", json: "1"},
		},
	})
}

func TestNodeObjects(t *testing.T) {
	t.Parallel()
	object := func(kind, interfaces, value string) string {
		return `object: {"TypeName":"` + kind + `","Interfaces":[` + interfaces + `],"Value":` + value + `}`
	}
	runRecords(t, remuda.LanguageNode, map[string][]recordStep{
		"scalars": {
			{run: objects("1 + 1"), told: object("Number", "", "2"), json: "2"},
			{run: objects("'a'"), told: object("String", "", `"a"`), json: `"a"`},
			{run: objects("undefined")}, {run: objects("null"), told: object("null", "", "null"), json: "null"},
			{run: objects("10n"), told: object("BigInt", "", `"10n"`)},
			{run: objects("NaN"), told: object("Number", "", `"NaN"`)},
			{run: objects("new Date(0)"), told: object("Date", "", `"1970-01-01T00:00:00.000Z"`), json: `"1970-01-01T00:00:00.000Z"`},
		},
		"many": {
			{run: objects("[1, 'a', null, [1, [2]]]"), json: `[1,"a",null,[1,[2]]]`, told: object("Number", "", "1") + "\n" + object("String", "", `"a"`) + "\n" + object("null", "", "null") + "\n" + object("Array", "", `[1,"[ 2 ]"]`)},
			{run: objects("(function* () { yield 1; yield 2 })()"), told: object("Number", "", "1") + "\n" + object("Number", "", "2"), json: "{}"},
			{run: objects("(function* () { yield 1; throw new Error('mid') })()"), errText: "mid"},
			{run: objects("new Set([1])"), told: object("Number", "", "1")},
		},
		"structures": {
			{run: objects("({a: 1, b: {c: 1}, d: undefined})"), told: object("Object", "", `{"a":1,"b":"{ c: 1 }","d":null}`), json: `{"a":1,"b":{"c":1}}`},
			{run: objects("class A { x = 1 }; class B extends A { y = new Date(0) }; new B()"), told: object("B", `"A"`, `{"x":1,"y":"1970-01-01T00:00:00.000Z"}`), json: `{"x":1,"y":"1970-01-01T00:00:00.000Z"}`},
			{run: objects("new Map([['k', 1]])"), told: object("Map", "", `{"k":1}`)},
		},
		"assign": {
			{run: protocol.Execute{Script: "new Date(5)", Assign: "day"}},
			{run: script("day.getTime()"), json: "5"},
			{run: protocol.Execute{Script: "1", Assign: "a b"}, errText: "not a name"},
			{run: script("'x'.repeat(70000).length"), json: "70000"},
			{run: streams("console.info('x'.repeat(20).length)"), told: "information: 20"},
		},
		"scratch": {
			{run: protocol.Execute{Script: "credentials.p", Parameters: map[string]json.RawMessage{"credentials": json.RawMessage(`{"p":"canary"}`)}, Scratch: []string{"credentials", "none"}}, json: `"canary"`},
			{run: script("typeof credentials"), json: `"undefined"`},
		},
	})
}

func TestBashExtras(t *testing.T) {
	t.Parallel()
	with := func(e protocol.Execute, name, value string) protocol.Execute {
		e.Parameters = map[string]json.RawMessage{name: json.RawMessage(value)}
		return e
	}
	runRecords(t, remuda.LanguageBash, map[string][]recordStep{
		"streams": {
			{run: protocol.Execute{Script: "echo out; echo err >&2", Streams: true, Objects: true}, stdout: "out\n", stderr: "err\n"},
		},
		"assign": {
			{run: with(protocol.Execute{Script: "echo \"  $argument x\"; echo; echo err >&2", Assign: "a", Scratch: []string{"argument"}}, "argument", `"v"`), stderr: "err\n"},
			{run: script("echo \"<$a>\" ${argument-gone}"), stdout: "<  v x> gone\n"},
			{run: protocol.Execute{Script: "echo x; exit 3", Assign: "b"}, errText: "status 3"},
			{run: protocol.Execute{Script: "set -e; false; echo x", Assign: "b"}, errText: "status 1"},
			{run: protocol.Execute{Script: "if then", Assign: "b"}, errText: "status 2", stderr: "...syntax error"},
			{run: protocol.Execute{Script: "echo x", Assign: "a b"}, errText: "not a name"},
			{run: script("echo \"<$a>\" $-"), stdout: "...<  v x> "},
		},
		"scratch": {
			{run: with(protocol.Execute{Script: "export other=1; f() { echo kept; }; echo ${#credentials}", Scratch: []string{"credentials"}}, "credentials", `{"p":"canary-4711"}`), stdout: "19\n"},
			{run: script("echo ${credentials-gone} $other; f"), stdout: "gone 1\nkept\n"},
			{run: with(protocol.Execute{Script: "exit 4", Scratch: []string{"credentials"}}, "credentials", `"x"`), errText: "status 4"},
			{run: script("echo ${credentials-gone}; f"), stdout: "gone\nkept\n"},
			{run: with(protocol.Execute{Script: "set -e; false", Scratch: []string{"credentials"}}, "credentials", `"x"`), errText: "status 1"},
			{run: script("echo ${credentials-gone}; f"), stdout: "gone\nkept\n"},
		},
	})
}
