package guestinit

import (
	"bytes"
	"testing"
)

// TestChildCode looks whether what the template is sent is the whole function: from its
// first instruction to its end mark, and nothing of its neighbours.
func TestChildCode(t *testing.T) {
	t.Parallel()
	code := childCode()
	// PUSH BX, and at the end: exit_group(1), as the last step that is reached.
	begin, end := []byte{0x53}, []byte{0xB8, 0xE7, 0, 0, 0, 0xBF, 1, 0, 0, 0, 0x0F, 0x05}
	if len(code) >= childCodeLimit || !bytes.HasPrefix(code, begin) || !bytes.HasSuffix(code, end) {
		t.Errorf("%d bytes: %x", len(code), code)
	}
	if n := bytes.Count(code, []byte{0xC3}); n == 0 {
		t.Error("it never returns")
	}
}
