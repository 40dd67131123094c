package channel

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestExtrasComeLast(t *testing.T) {
	t.Parallel()
	r := Run{Source: "src", Parameters: []Pair{{"p", "1"}}}
	plain := r.fields()
	if want := []string{"", "", "src", "0", "0", "1", "p", "1"}; !slices.Equal(plain, want) {
		t.Errorf("a run without extras has fields %q, want %q", plain, want)
	}
	for want, x := range map[string]Extras{
		"e: m,,0": {Streams: true}, "e: o,,0": {Objects: true}, "e: ,n,0": {Assign: "n"}, "e: ,,2,a,b": {Scratch: []string{"a", "b"}},
		"e: mo,n,1,a": {Streams: true, Objects: true, Assign: "n", Scratch: []string{"a"}},
	} {
		r.Extras = x
		f := r.fields()
		if got := f[0] + ": " + strings.Join(f[len(plain):], ","); got != want {
			t.Errorf("%+v: %q, want %q", x, got, want)
		}
	}
}

func TestParseRecord(t *testing.T) {
	t.Parallel()
	for data, p := range map[string][]byte{
		"hi": done("3", "hi"), "": done("7", ""), "\uFFFDa": done("5", "\xffa"), `{"a":1}`: done("8", `{"a":1}`),
	} {
		r, err := ParseRecord(p)
		if err != nil || string(r.Data) != data {
			t.Errorf("%.40q: %.40q, %v", data, r.Data, err)
		}
	}
	for name, p := range map[string][]byte{
		"nothing": nil, "one field": done("3"), "three": done("3", "a", "b"), "no kind": done("", "a"), "kind 2": done("2", "a"), "kind 9": done("9", "a"),
		"two digits": done("33", "a"), "a letter": done("x", "a"), "long": done("3", strings.Repeat("x", MaxMessage+1)), "no JSON": done("8", "{"),
		"two JSON texts": done("8", "1 2"), "large": done("8", `"`+strings.Repeat("x", MaxObject)+`"`), "no UTF-8": done("8", "\"\xff\""), "short": {0, 0, 0},
	} {
		if r, err := ParseRecord(p); !errors.Is(err, ErrGarbage) {
			t.Errorf("%s is %+v, %v", name, r, err)
		}
	}
}

// TestLongRecordIsRefusedAtItsHeader keeps it from being waited for.
func TestLongRecordIsRefusedAtItsHeader(t *testing.T) {
	t.Parallel()
	for n, good := range map[uint32]bool{maxRecord: true, maxRecord + 1: false, MaxFrame: false} {
		_, _, _, ok, err := Next(append(binary.BigEndian.AppendUint32(nil, n), TypeRecord, 0))
		if ok || errors.Is(err, ErrGarbage) == good {
			t.Errorf("a record of %d bytes: %v", n, err)
		}
	}
}

// TestBrokenMessageStaysBounded has bytes that are no UTF-8 become three each.
func TestBrokenMessageStaysBounded(t *testing.T) {
	t.Parallel()
	r, err := ParseRecord(done("5", strings.Repeat("a\xff", MaxMessage/2)))
	if err != nil || len(r.Data) > MaxMessage || len(r.Data) < MaxMessage-2 || !utf8.Valid(r.Data) {
		t.Errorf("%d bytes, %v", len(r.Data), err)
	}
}

// checkRecord is what must be true of every record that is taken.
func checkRecord(t *testing.T, p []byte) {
	t.Helper()
	r, err := ParseRecord(p)
	if err != nil {
		return
	}
	limit := MaxMessage
	if r.Kind == KindObject {
		limit = MaxObject
	}
	if r.Kind < KindInformation || r.Kind > KindObject || len(r.Data) > limit || !utf8.Valid(r.Data) || r.Kind == KindObject && !json.Valid(r.Data) {
		t.Fatalf("record of kind %d with %d bytes", r.Kind, len(r.Data))
	}
}

// FuzzRecord feeds payloads of records alone.
func FuzzRecord(f *testing.F) {
	f.Add(done("3", "hello"))
	f.Add(done("8", `{"TypeName":"builtins.int","Interfaces":[],"Value":1}`))
	f.Add(done("6", "\xff\xfe"))
	f.Fuzz(checkRecord)
}
