package guest_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"reflect"
	"testing"

	"github.com/remuda-run/remuda/internal/guest/channel"
)

// parses reads a Template frame as the Python driver does, and prints what it
// has found.
const parses = `
import _signal, ctypes, json, posix, sys
scope = {"sys": sys, "posix": posix, "_signal": _signal}
exec(open("drivers/driver_template.py").read(), scope)
data = sys.stdin.buffer.read()
assert int.from_bytes(data[:4], "big") == len(data) - 5
fields, i = [], 5
while i < len(data):
    n = int.from_bytes(data[i:i + 4], "big") + i + 4
    fields.append(data[i + 4:n])
    i = n
lists = []
for _ in range(2):
    n = int(fields[0])
    lists.append([f.decode() for f in fields[1:n + 1]])
    fields = fields[n + 1:]
def shown(a):
    if isinstance(a, ctypes.c_long):
        return ["i", str(a.value)]
    if isinstance(a, ctypes.Array):
        return ["m", str(len(a))]
    if len(a) == 16 and int.from_bytes(a[:8], sys.byteorder) == 2:
        return ["f", ctypes.string_at(int.from_bytes(a[8:], sys.byteorder), 16).hex()]
    return ["b", a.hex()]
lists.append(fields[0].hex())
read = scope["parse"](fields[1:])
parts = [[[what.decode(), [shown(a) for a in call]] for what, call in part] for part in scope["build"](read[:3])[0][:-1]]
sharing = [[[what.decode(), [a.decode() for a in call]] for what, call in part] for part in read[3:]]
print(json.dumps({"Preload": lists[0], "Exec": lists[1], "Code": lists[2], "Parts": parts, "Sharing": sharing}))
`

// TestTemplateFrame has the driver's own parser read what we write.
func TestTemplateFrame(t *testing.T) {
	t.Parallel()
	frame := channel.Template{
		Preload: []string{"json", "a.b"}, Exec: []string{"/bin/bash", "-c", "x\ny"},
		Parts: [][]channel.Call{
			{{What: "one", Args: []channel.Arg{channel.Int(39)}}},
			{},
			{
				{What: "two words", Args: []channel.Arg{channel.Int(-100), channel.Bytes([]byte("a\x00b\xff")), channel.Bytes(nil)}},
				{What: "", Args: []channel.Arg{channel.Filter(bytes.Repeat([]byte{1, 2}, 8)), channel.Message()}},
			},
		},
		Code:    []byte("\x00code\xff"),
		Sharing: [][]channel.Call{{}, {{What: "three", Args: []channel.Arg{channel.Int(40), channel.Place("lock")}}}},
	}
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", parses)
	cmd.Stdin = bytes.NewReader(frame.Append(nil))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	const expected = `{"Preload": ["json", "a.b"], "Exec": ["/bin/bash", "-c", "x\ny"], "Code": "00636f6465ff", "Sharing": [[], [["three", ["i40", "plock"]]]], "Parts": [
		[["one", [["i", "39"]]]],
		[],
		[["two words", [["i", "-100"], ["b", "610062ff"], ["b", ""]]], ["", [["f", "01020102010201020102010201020102"], ["m", "56"]]]]
	]}`
	if err := json.Unmarshal([]byte(expected), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the driver reads %s, %v", out, err)
	}
}
