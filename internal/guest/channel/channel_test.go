package channel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestRunFields(t *testing.T) {
	t.Parallel()
	r := Run{Final: true, CodeFile: true, Stdin: true, DropInterrupts: true, Name: "n", Source: "src", Args: []string{"a", ""}, Env: []Pair{{"K", "V"}}, Parameters: []Pair{{"p", "1"}, {"q", "[]"}}}
	want := []string{"fcsi", "n", "src", "2", "a", "", "1", "K", "V", "2", "p", "1", "q", "[]"}
	frame := r.Append([]byte("before"))[len("before"):]
	if int(binary.BigEndian.Uint32(frame)) != len(frame)-headerLen || frame[4] != TypeRun {
		t.Fatalf("header %v of %d bytes", frame[:headerLen], len(frame))
	}
	fields, err := Fields(frame[headerLen:])
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range fields {
		got = append(got, string(f))
	}
	if !slices.Equal(got, want) {
		t.Errorf("fields %q, want %q", got, want)
	}
	z, err := r.AppendZ(nil)
	if err != nil || string(z) != strings.Join(want, "\x00")+"\x00" {
		t.Errorf("%q, %v", z, err)
	}
	r.Source = "a\x00b"
	if _, err := r.AppendZ(nil); err == nil {
		t.Error("a NUL in the source is not refused")
	}
}

func done(fields ...string) []byte {
	var p []byte
	for _, f := range fields {
		p = AppendField(p, f)
	}
	return p
}

func TestParseDone(t *testing.T) {
	t.Parallel()
	d, err := ParseDone(done("ok", "0", "v", "[1]", "text\xff", "", "", "", "image/png", "aGk="))
	if err != nil || !d.OK || !d.HasValue || string(d.JSON) != "[1]" || d.Text != "text\uFFFD" || d.Rich["image/png"] != "aGk=" {
		t.Errorf("%+v, %v", d, err)
	}
	for name, p := range map[string][]byte{
		"no fields": nil, "seven": done("ok", "0", "", "", "", "", ""), "odd forms": done("ok", "0", "", "", "", "", "", "", "x"),
		"code": done("ok", "x", "", "", "", "", "", ""), "long code": done("ok", "000000000000", "", "", "", "", "", ""),
		"short": {0, 0, 0}, "lying": {0, 0, 0, 9, 1},
	} {
		if _, err := ParseDone(p); !errors.Is(err, ErrGarbage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseLine(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]Done{
		"done 0 0 ":                {OK: true},
		"done 3 0 ":                {ExitCode: 3, ErrType: "ExitStatus", ErrText: "the script ended with status 3"},
		"done 1 7 grep -q foo bar": {ExitCode: 1, ErrType: "ExitStatus", ErrText: "the script ended with status 1 (line 7: grep -q foo bar)", Traceback: "line 7: grep -q foo bar"},
	} {
		typ, _, d, err := ParseLine(line)
		if err != nil || typ != TypeDone || d.OK != want.OK || d.ExitCode != want.ExitCode || d.ErrText != want.ErrText || d.ErrType != want.ErrType || d.Traceback != want.Traceback {
			t.Errorf("%q: %+v, %v", line, d, err)
		}
	}
	for _, line := range []string{"", "done", "done x 0", "done 256 0 ", "done -1 0", "done 0", "other", "done 1 -2 x"} {
		if _, _, _, err := ParseLine(line); !errors.Is(err, ErrGarbage) {
			t.Errorf("%q: %v", line, err)
		}
	}
	if _, _, _, err := NextLine(bytes.Repeat([]byte("x"), MaxLine+1)); !errors.Is(err, ErrGarbage) {
		t.Errorf("a line without end: %v", err)
	}
}

// FuzzNext feeds what a script could write into the channel.
func FuzzNext(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 3})
	f.Add(append([]byte{0, 0, 0, 40, 3}, done("ok", "0", "v", "1", "1", "", "", "")...))
	f.Add([]byte{0, 0, 0, 5, 2, 0, 0, 0, 1, 'x'})
	f.Add([]byte("done 1 2 x\nready 5\n"))
	f.Add(append([]byte{0, 0, 0, 8, TypePrepared}, done("none")...))
	f.Add(append([]byte{0, 0, 0, 6, TypeForked}, done("12")...))
	f.Add(append([]byte{0, 0, 0, 11, TypeRecord}, done("4", "hi")...))
	f.Add(append([]byte{0, 0, 0, 12, TypeRecord}, done("8", "[1]")...))
	f.Add(append([]byte{0, 0, 0, 11, TypeRecord}, done("3", "\xff\xff")...))
	f.Fuzz(func(t *testing.T, b []byte) {
		rest := b
		for range 100 {
			typ, p, after, ok, err := Next(rest)
			if err != nil || !ok {
				break
			}
			if len(after) >= len(rest) || len(p) > MaxFrame {
				t.Fatalf("a frame of %d bytes leaves %d of %d", len(p), len(after), len(rest))
			}
			switch typ {
			case TypeReady:
				_, _ = ParseReady(p)
			case TypePrepared:
				if why, err := ParsePrepared(p); err == nil && (!utf8.ValidString(why) || len(why) > 3*MaxLine) {
					t.Fatalf("a refusal of %d bytes", len(why))
				}
			case TypeForked:
				if pid, err := ParseForked(p); err == nil && pid <= 1 {
					t.Fatalf("process %d", pid)
				}
			case TypeRecord:
				checkRecord(t, p)
			case TypeDone:
				if d, err := ParseDone(p); err == nil && d == nil {
					t.Fatal("no end and no error")
				}
			default:
				t.Fatalf("type %d came through", typ)
			}
			rest = after
		}
		for rest = b; ; {
			line, after, ok, err := NextLine(rest)
			if err != nil || !ok {
				break
			}
			if typ, _, d, err := ParseLine(line); err == nil && typ == TypeDone && (d.ExitCode < 0 || d.ExitCode > 255) {
				t.Fatalf("%q gives status %d", line, d.ExitCode)
			}
			rest = after
		}
	})
}

func TestParseTemplateWords(t *testing.T) {
	t.Parallel()
	for why, p := range map[string][]byte{"": done(""), "module x": done("module x"), "\uFFFD": done("\xff")} {
		if got, err := ParsePrepared(p); err != nil || got != why {
			t.Errorf("%q, %v", got, err)
		}
	}
	if pid, err := ParseForked(done("2147483647")); err != nil || pid != 1<<31-1 {
		t.Errorf("%d, %v", pid, err)
	}
	for _, p := range [][]byte{nil, done("", ""), done(strings.Repeat("x", MaxLine+1)), {0, 0}} {
		if _, err := ParsePrepared(p); !errors.Is(err, ErrGarbage) {
			t.Errorf("%q is prepared: %v", p, err)
		}
	}
	for _, p := range [][]byte{nil, done(""), done("1"), done("0"), done("-7"), done("2", "3"), done("2 "), done("0x2"), done("000000000002"), done("99999999999999999999"), {0, 0}} {
		if pid, err := ParseForked(p); !errors.Is(err, ErrGarbage) {
			t.Errorf("%q names process %d: %v", p, pid, err)
		}
	}
}
