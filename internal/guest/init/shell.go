package guestinit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/remuda-run/remuda/internal/guest/channel"
)

// forShell makes strings of JSON parameters, since Bash has no other values: a
// JSON string as its text, null as nothing, anything else as compact JSON.
func forShell(r *channel.Run) error {
	for _, name := range append(slices.Clone(r.Scratch), r.Assign) {
		if name != "" && !shellName(name) {
			return fmt.Errorf("%q is not a name that Bash allows: use letters, digits and _", name)
		}
	}
	pairs := r.Parameters
	for i := range pairs {
		p := &pairs[i]
		if !shellName(p.Name) {
			return fmt.Errorf("parameter %q is not a name that Bash allows: use letters, digits and _", p.Name)
		}
		var text string
		var compact bytes.Buffer
		switch {
		case json.Unmarshal([]byte(p.Value), &text) == nil: // null leaves it empty
			p.Value = text
		case json.Compact(&compact, []byte(p.Value)) == nil:
			p.Value = compact.String()
		}
	}
	return nil
}

// shellName reports whether s can be the name of a variable of Bash.
func shellName(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
