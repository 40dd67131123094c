package protocol

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestFrames(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	for _, p := range []string{"", "x", "payload"} {
		if err := Write(&b, TypeEnd, []byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"", "x", "payload"} {
		typ, p, err := Read(&b, nil, 100)
		if err != nil || typ != TypeEnd || string(p) != want {
			t.Errorf("type %d, %q, %v, want %q", typ, p, err, want)
		}
	}
	if _, _, err := Read(&b, nil, 100); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if _, _, err := Read(bytes.NewReader([]byte{0, 0, 0, 2, 1, 'x'}), nil, 100); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("in the middle: %v", err)
	}
	if _, _, err := Read(bytes.NewReader([]byte{0, 0, 0, 101, 1}), nil, 100); !errors.Is(err, ErrFrameTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(Append(nil, TypeHello, []byte(`{"version":1}`)))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 1 << 16
		r := bytes.NewReader(b)
		for {
			typ, p, err := Read(r, nil, limit)
			if err != nil {
				return
			}
			if len(p) > limit {
				t.Fatalf("a payload of %d bytes", len(p))
			}
			if again := Append(nil, typ, p); !bytes.Contains(b, again) {
				t.Fatalf("%x is not what was read", again)
			}
		}
	})
}

func FuzzParseOutput(f *testing.F) {
	f.Add(AppendOutput(nil, 1, 2, []byte("data")))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		seq, stream, data, err := ParseOutput(b)
		if err == nil && !bytes.Equal(AppendOutput(nil, seq, stream, data), b) {
			t.Fatalf("%x does not come back", b)
		}
		req, data, err := ParseFileData(b)
		if err == nil && !bytes.Equal(AppendFileData(nil, req, data), b) {
			t.Fatalf("%x does not come back", b)
		}
	})
}
