package keeper

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
)

func TestSpool(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, size := range []int{0, 1, spoolInMemory, spoolInMemory + 1, 3*spoolInMemory + 7} {
		s := newSpool(dir)
		want := bytes.Repeat([]byte("abcdefg"), size/7+1)[:size]
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 100_000)
			if _, err := s.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if _, err := s.Read(make([]byte, 1)); err == nil {
			t.Error("read before rewind")
		}
		if err := s.rewind(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(s)
		if err := errors.Join(err, s.Close()); err != nil || !bytes.Equal(got, want) || s.size != int64(size) {
			t.Errorf("%d bytes came back as %d: %v", size, len(got), err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("spools left %v, %v", entries, err)
	}
}
