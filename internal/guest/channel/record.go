package channel

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Extras are what a run may want besides its output. A run without any is sent
// without them.
type Extras struct {
	Streams bool     // messages become records
	Objects bool     // what the script evaluates to becomes records
	Assign  string   // the global that gets it, instead of its being told in Done
	Scratch []string // globals that are unbound when the script has ended
}

func (x *Extras) asked() bool {
	return x.Streams || x.Objects || x.Assign != "" || len(x.Scratch) > 0
}

// fields appends the fields of extras, which come last in a Run.
func (x *Extras) fields(out []string) []string {
	letters := ""
	if x.Streams {
		letters += "m"
	}
	if x.Objects {
		letters += "o"
	}
	out = append(out, letters, x.Assign, strconv.Itoa(len(x.Scratch)))
	return append(out, x.Scratch...)
}

// Kinds of records.
const (
	KindInformation byte = iota + 3
	KindWarning
	KindError
	KindDebug
	KindVerbose
	KindObject
)

// Bounds of a record's data.
const (
	MaxMessage = 32 << 10
	MaxObject  = 256 << 10

	maxRecord = MaxObject + 64 // of its frame's payload
)

// Record is a message of a script, or an object that it evaluates to.
type Record struct {
	Kind byte
	Data []byte // UTF-8; of an object one JSON text
}

// ParseRecord reads the payload of a Record frame: kind, data. The data is a copy.
func ParseRecord(p []byte) (Record, error) {
	f, err := Fields(p)
	if err != nil {
		return Record{}, err
	}
	if len(f) != 2 || len(f[0]) != 1 {
		return Record{}, fmt.Errorf("%w: %d fields in a record", ErrGarbage, len(f))
	}
	r := Record{Kind: f[0][0] - '0'}
	switch {
	case r.Kind < KindInformation || r.Kind > KindObject:
		return Record{}, fmt.Errorf("%w: a record of kind %d", ErrGarbage, r.Kind)
	case r.Kind != KindObject && len(f[1]) > MaxMessage, len(f[1]) > MaxObject:
		return Record{}, fmt.Errorf("%w: a record of kind %d with %d bytes", ErrGarbage, r.Kind, len(f[1]))
	case r.Kind != KindObject:
		r.Data = message(f[1])
	case !utf8.Valid(f[1]) || !json.Valid(f[1]):
		return Record{}, fmt.Errorf("%w: an object that is no JSON", ErrGarbage)
	default:
		r.Data = append(r.Data, f[1]...)
	}
	return r, nil
}

// message makes valid UTF-8 of foreign bytes, which makes them longer, but not
// longer than a message may be.
func message(b []byte) []byte {
	if utf8.Valid(b) {
		return append([]byte(nil), b...)
	}
	out := text(b)
	for n := MaxMessage; len(out) > MaxMessage; n-- {
		if utf8.RuneStart(out[n]) {
			out = out[:n]
		}
	}
	return []byte(out)
}
