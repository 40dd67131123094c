package executions

import (
	"encoding/json"

	"github.com/remuda-run/remuda/internal/remuda"
)

// maxNesting is how deep lists and objects are nested in the JSON form of a value at
// most. encoding/json makes what it does not read again: it reads 10,000 levels, and
// what a value is stored and sent in are some of them.
const maxNesting = 5000

// readable is a value without a JSON form that nobody could read. Its text stays.
func readable(v *remuda.Value) *remuda.Value {
	if v == nil || nesting(v.JSON) <= maxNesting {
		return v
	}
	flat := *v
	flat.JSON = nil
	return &flat
}

// nesting is how deep lists and objects are nested in valid JSON.
func nesting(raw json.RawMessage) (deepest int) {
	depth, quoted, escaped := 0, false, false
	for _, c := range raw {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case c == '"':
			quoted = true
		case c == '[' || c == '{':
			depth++
			deepest = max(deepest, depth)
		case c == ']' || c == '}':
			depth--
		}
	}
	return deepest
}
