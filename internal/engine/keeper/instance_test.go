package keeper

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// TestMalformedFrames feeds an instance what no keeper sends. Each must be told
// from what one does send, and none may do more than end the instance.
func TestMalformedFrames(t *testing.T) {
	t.Parallel()
	out := func(seq int64, stream byte) []byte { return protocol.AppendOutput(nil, seq, stream, []byte("x")) }
	tests := []struct {
		name    string
		kind    protocol.Type
		payload []byte
		running string
	}{
		{"unknown type", 99, nil, "a"},
		{"server's type", protocol.TypeExecute, nil, "a"},
		{"output while nothing runs", protocol.TypeOutput, out(1, 1), ""},
		{"output of no stream", protocol.TypeOutput, out(1, 9), "a"},
		{"output of stream 0", protocol.TypeOutput, out(1, 0), "a"},
		{"output out of order", protocol.TypeOutput, out(2, 1), "a"},
		{"short output", protocol.TypeOutput, []byte("x"), "a"},
		{"end of another", protocol.TypeEnd, protocol.AppendMessage(nil, &protocol.End{ID: "b"}), "a"},
		{"end with another count", protocol.TypeEnd, protocol.AppendMessage(nil, &protocol.End{ID: "a", LastSeq: 3}), "a"},
		{"malformed end", protocol.TypeEnd, []byte(`{`), "a"},
		{"reply to nothing", protocol.TypeFileReply, protocol.AppendMessage(nil, &protocol.FileReply{Req: 1}), "a"},
		{"data for nothing", protocol.TypeFileData, protocol.AppendFileData(nil, 1, nil), "a"},
		{"short data", protocol.TypeFileData, []byte("x"), "a"},
	}
	for _, tt := range tests {
		i := testInstance(tt.running)
		if err := i.handle(tt.kind, tt.payload); !errors.Is(err, errProtocol) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	i := testInstance("a")
	big := make([]byte, 1<<20)
	for n := int64(1); ; n++ {
		if err := i.handle(protocol.TypeOutput, protocol.AppendOutput(nil, n, 1, big)); err != nil {
			if !errors.Is(err, errProtocol) || n < 2 {
				t.Errorf("record %d: %v", n, err)
			}
			break
		}
		if n > 100 {
			t.Fatal("output that is not acknowledged is held without bound")
		}
	}
}

// testInstance is an instance without a sandbox.
func testInstance(running string) *Instance {
	i := New(Options{Conn: &Conn{}, Log: slog.New(slog.DiscardHandler)})
	if running != "" {
		i.run = &run{id: running, wake: make(chan struct{}, 1)}
	}
	return i
}

func FuzzHandle(f *testing.F) {
	f.Add(byte(protocol.TypeOutput), protocol.AppendOutput(nil, 1, 1, []byte("x")))
	f.Add(byte(protocol.TypeEnd), protocol.AppendMessage(nil, &protocol.End{ID: "a", State: "success"}))
	f.Add(byte(protocol.TypeFileReply), protocol.AppendMessage(nil, &protocol.FileReply{Req: 1, Entries: make([]protocol.FileEntry, 1)}))
	f.Fuzz(func(_ *testing.T, kind byte, payload []byte) {
		_ = testInstance("a").handle(protocol.Type(kind), payload)
	})
}
