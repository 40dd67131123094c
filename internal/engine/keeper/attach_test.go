package keeper

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// answer plays a keeper that answers each frame with the next bytes, whatever it is.
func answer(t *testing.T, far net.Conn, answers ...[]byte) {
	t.Helper()
	for _, b := range answers {
		if _, _, err := protocol.Read(far, nil, protocol.MaxFrame); err != nil {
			t.Errorf("the keeper's end: %v", err)
			return
		}
		_, _ = far.Write(b) // it may be closed
	}
	_ = far.Close()
}

func stateFrame(s protocol.State) []byte {
	s.Version = protocol.Version
	return protocol.AppendFrame(nil, protocol.TypeState, &s)
}

func TestAttach(t *testing.T) {
	t.Parallel()
	greeting := stateFrame(protocol.State{})
	state := protocol.State{Ready: true, Execution: "ex_a", NextSeq: 5, LingerMS: 7000, ElapsedUS: 1, Mark: protocol.Mark{CPUNS: 3}}
	for name, tt := range map[string]struct {
		answers [][]byte
		want    string // of the error
	}{
		"there":           {[][]byte{greeting, stateFrame(state)}, ""},
		"refused":         {[][]byte{greeting, protocol.AppendFrame(nil, protocol.TypeFailed, &protocol.Failed{Stage: "attach", Error: "nobody"})}, "attach: nobody"},
		"another version": {[][]byte{protocol.AppendFrame(nil, protocol.TypeFailed, &protocol.Failed{Stage: "hello", Error: "version 5"})}, "hello: version 5"},
		"garbage":         {[][]byte{greeting, {0, 0, 0, 1, 9, 9}}, "broke the protocol"},
		"half a state":    {[][]byte{greeting, stateFrame(state)[:9]}, "EOF"},
		"nothing":         {[][]byte{greeting, nil}, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			near, far := keeperPair(t)
			go answer(t, far, tt.answers...)
			k, err := Attach(t.Context(), near.conn, 2004)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want %q", err, tt.want)
				}
				if _, err := near.conn.Write([]byte{0}); !errors.Is(err, net.ErrClosed) {
					t.Errorf("the connection stays open: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := state
			want.Version = protocol.Version
			if k.State() != want {
				t.Errorf("the state is %+v", k.State())
			}
		})
	}
}

// TestAttachGivesUp has a keeper not answer.
func TestAttachGivesUp(t *testing.T) {
	t.Parallel()
	near, far := keeperPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _, _ = protocol.Read(far, nil, protocol.MaxFrame)
		_, _ = far.Write(stateFrame(protocol.State{}))
		_, _, _ = protocol.Read(far, nil, protocol.MaxFrame)
		cancel()
	}()
	if _, err := Attach(ctx, near.conn, 1); err == nil {
		t.Error("a keeper that does not answer is attached")
	}
}

// TestTakenOver reads what a State says of the execution of an earlier server.
func TestTakenOver(t *testing.T) {
	t.Parallel()
	at := func(s protocol.State) *Instance {
		return New(Options{Log: slog.New(slog.DiscardHandler), Conn: &Conn{state: s}})
	}
	if _, _, ok := at(protocol.State{Ready: true}).Pending(); ok {
		t.Error("an idle one has something pending")
	}
	if _, _, ok := at(protocol.State{Execution: "ex_a"}).Pending(); ok {
		t.Error("one that is not ready has something pending")
	}
	i := at(protocol.State{Ready: true, Execution: "ex_a", NextSeq: 5})
	if id, first, ok := i.Pending(); id != "ex_a" || first != 5 || !ok {
		t.Errorf("pending is %s from %d, %v", id, first, ok)
	}
	if _, err := i.Execute(t.Context(), engine.Request{ID: "ex_b"}, nil); remuda.CodeOf(err) != remuda.CodeConflict || !strings.Contains(err.Error(), "ex_a") {
		t.Errorf("execute while something is pending: %v", err)
	}
	// Records go on where they were; others are no keeper's.
	if err := i.handle(protocol.TypeOutput, protocol.AppendOutput(nil, 5, 1, []byte("x"))); err != nil {
		t.Errorf("the next record: %v", err)
	}
	if err := i.handle(protocol.TypeOutput, protocol.AppendOutput(nil, 5, 1, []byte("x"))); !errors.Is(err, errProtocol) {
		t.Errorf("the same record again: %v", err)
	}
	if err := i.handle(protocol.TypeEnd, protocol.AppendMessage(nil, &protocol.End{ID: "ex_a", LastSeq: 5})); err != nil {
		t.Errorf("its end: %v", err)
	}
	if err := i.Detach(t.Context()); remuda.CodeOf(err) != remuda.CodeUnsupported {
		t.Errorf("detaching what has no Release: %v", err)
	}
}

// TestUsageOfATakenOver has a keeper lie about what was counted before.
func TestUsageOfATakenOver(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ now, before, want uint64 }{{5, 3, 2}, {3, 3, 0}, {3, math.MaxUint64, 0}} {
		if got := more(tt.now, tt.before); got != tt.want {
			t.Errorf("%d after %d is %d more", tt.now, tt.before, got)
		}
	}
}

// FuzzAttach answers a server with anything.
func FuzzAttach(f *testing.F) {
	greeting := stateFrame(protocol.State{})
	f.Add(append(greeting, stateFrame(protocol.State{Ready: true, Execution: "ex_a", NextSeq: 2, ElapsedUS: math.MinInt64, Mark: protocol.Mark{CPUNS: -1, OOMKills: math.MaxUint64}})...))
	f.Add(append(greeting, protocol.AppendFrame(nil, protocol.TypeFailed, &protocol.Failed{Stage: "attach"})...))
	f.Add(append(append(greeting, greeting...), protocol.AppendFrame(nil, protocol.TypeOutput, &protocol.Attach{User: 7})...))
	f.Fuzz(func(t *testing.T, b []byte) {
		near, far := keeperPair(t)
		go func() {
			_ = far.SetDeadline(time.Now().Add(time.Minute))
			_, _ = far.Write(b)
			_ = far.(*net.UnixConn).CloseWrite()
		}()
		k, err := Attach(t.Context(), near.conn, 1)
		if err != nil {
			return
		}
		i := New(Options{Log: slog.New(slog.DiscardHandler), Conn: k})
		for {
			kind, payload, err := k.read()
			if err != nil || i.handle(kind, payload) != nil {
				break
			}
		}
		id, first, ok := i.Pending()
		if s := k.State(); ok != (s.Ready && s.Execution != "") || ok && (string(id) != s.Execution || first != s.NextSeq) {
			t.Errorf("pending is %s from %d (%v), the state %+v", id, first, ok, s)
		}
		k.Close()
	})
}
