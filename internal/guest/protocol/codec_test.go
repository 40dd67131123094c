package protocol_test

import (
	"bytes"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// messages has a new message of every type.
func messages() []protocol.Message {
	return []protocol.Message{
		&protocol.Hello{}, &protocol.State{}, &protocol.Setup{}, &protocol.Ready{}, &protocol.Failed{}, &protocol.Execute{},
		&protocol.Interrupt{}, &protocol.Ack{}, &protocol.Linger{}, &protocol.End{}, &protocol.FileRequest{}, &protocol.FileReply{},
		&protocol.Root{}, &protocol.Attach{},
	}
}

// fill gives every field of v some value; what is empty stays nil, as the wire
// does not tell the two apart.
func fill(t *rapid.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(rapid.StringN(0, 100, 300).Draw(t, "string"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "int"))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(rapid.Uint64Max(1<<v.Type().Bits()-1).Draw(t, "uint"))
	case reflect.Struct:
		for _, f := range v.Fields() {
			fill(t, f)
		}
	case reflect.Slice:
		for range rapid.IntRange(0, 4).Draw(t, "length") {
			e := reflect.New(v.Type().Elem()).Elem()
			fill(t, e)
			v.Set(reflect.Append(v, e))
		}
	case reflect.Map:
		for range rapid.IntRange(0, 4).Draw(t, "size") {
			key, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(t, key)
			fill(t, e)
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			v.SetMapIndex(key, e)
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "present") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem())
		}
	default:
		t.Fatalf("no generator for %s", v.Type())
	}
}

// TestRoundTrip also finds a field that the codec forgets.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for n := range messages() {
		rapid.Check(t, func(t *rapid.T) {
			m, got := messages()[n], messages()[n]
			fill(t, reflect.ValueOf(m).Elem())
			b := protocol.AppendMessage(nil, m)
			if err := protocol.Decode(b, got); err != nil || !reflect.DeepEqual(got, m) {
				t.Fatalf("%T came back as %+v, %v\nwant %+v", m, got, err, m)
			}
			if len(b) > 0 && protocol.Decode(b[:len(b)-1], messages()[n]) == nil {
				t.Fatalf("%T without its last byte was taken", m)
			}
			if protocol.Decode(append(b, 0), messages()[n]) == nil {
				t.Fatalf("%T with a byte more was taken", m)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		b []byte
		m protocol.Message
	}{
		"nothing":                {nil, &protocol.Hello{}},
		"long form of a number":  {[]byte{0x80, 0x00}, &protocol.Hello{}},
		"number without an end":  {bytes.Repeat([]byte{0xff}, 11), &protocol.Hello{}},
		"string past the end":    {[]byte{0xff, 0xff, 0xff, 0x7f, 'a', 0}, &protocol.Failed{}},
		"list longer than bytes": {[]byte{0xff, 0xff, 0xff, 0xff, 0x7f}, &protocol.Root{}},
		"bool of 2":              {[]byte{2, 2, 0, 0}, &protocol.State{}},
		"keys out of order":      {[]byte{2, 1, 'b', 0, 1, 'a', 0, 0}, &protocol.Ready{}},
		"a key twice":            {[]byte{2, 1, 'a', 0, 1, 'a', 0, 0}, &protocol.Ready{}},
		"no UTF-8":               {[]byte{1, 0xff, 0}, &protocol.Failed{}},
		"a number and more":      {[]byte{2, 2}, &protocol.Attach{}},
		"a state of version 5":   {[]byte{10, 1, 1, 'e', 2}, &protocol.State{}},
		"33 bits":                {[]byte{0x80, 0x80, 0x80, 0x80, 0x10, 0, 0, 0}, &protocol.FileRequest{}},
	} {
		if protocol.Decode(tt.b, tt.m) == nil {
			t.Errorf("%s was taken as %+v", name, tt.m)
		}
	}
}

// FuzzDecode checks that what is accepted has one form.
func FuzzDecode(f *testing.F) {
	code := 7
	f.Add(byte(9), protocol.AppendMessage(nil, &protocol.End{ID: "a", State: "success", ExitCode: &code, Rich: map[string]string{"text/plain": "x"}}))
	f.Add(byte(5), protocol.AppendMessage(nil, &protocol.Execute{ID: "a", Args: []string{"b"}}))
	f.Add(byte(5), protocol.AppendMessage(nil, &protocol.Execute{ID: "a", Assign: "n", Scratch: []string{"p", "q"}, Streams: true, Objects: true}))
	f.Add(byte(2), protocol.AppendMessage(nil, &protocol.Setup{Limits: []protocol.Rlimit{{Resource: 1, Value: 2}}}))
	f.Add(byte(1), protocol.AppendMessage(nil, &protocol.State{Version: 6, Ready: true, Execution: "a", NextSeq: 7, Mark: protocol.Mark{CPUNS: 1, OOMKills: 2, PidsMax: 3}}))
	f.Add(byte(13), protocol.AppendMessage(nil, &protocol.Attach{User: 2004}))
	f.Add(byte(11), protocol.AppendMessage(nil, &protocol.FileReply{Entries: []protocol.FileEntry{{Path: "a"}}}))
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		all := messages()
		m := all[int(kind)%len(all)]
		if protocol.Decode(b, m) != nil {
			return
		}
		if again := protocol.AppendMessage(nil, m); !bytes.Equal(again, b) {
			t.Errorf("%x is also %x", b, again)
		}
	})
}
