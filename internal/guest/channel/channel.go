package channel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Types of the frames of the channel.
const (
	TypeRun   byte = 1 // init to driver: Run
	TypeReady byte = 2 // driver to init: one field, the interpreter's version
	TypeDone  byte = 3 // driver to init: Done

	TypeRecord byte = 8 // driver to init, while a run asks for it: Record

	// Of the driver of a template:

	TypeTemplate byte = 4 // init to driver: Template
	TypePrepared byte = 5 // driver to init: one field, why there can be no template, empty if there is one
	TypeFork     byte = 6 // init to driver: nothing
	TypeForked   byte = 7 // driver to init: one field, the child's process number
)

// MaxFrame bounds what a driver may send in one frame.
const MaxFrame = 32 << 20

// MaxLine bounds a line of the line variant.
const MaxLine = 8 << 10

// headerLen is four bytes of payload length, big-endian, and one byte of type.
const headerLen = 5

// ErrGarbage is wrapped by every error about bytes that no driver of ours sends.
var ErrGarbage = errors.New("not a frame of a driver")

// Pair is a name and its value.
type Pair struct{ Name, Value string }

// Run asks the driver for one script run.
type Run struct {
	Final          bool // nothing will run afterwards: end as the interpreter itself would
	CodeFile       bool // Source is the path of a file in the workspace
	Stdin          bool // descriptor 0 has other content than at the last run
	DropInterrupts bool // a SIGINT of the last run may still be pending: drop it
	Name           string
	Source         string
	Args           []string
	Env            []Pair
	Parameters     []Pair // values are JSON
	Extras
}

// fields lists the fields of a Run in wire order.
func (r *Run) fields() []string {
	flags := make([]byte, 0, 5)
	for _, f := range []struct {
		set    bool
		letter byte
	}{{r.Final, 'f'}, {r.CodeFile, 'c'}, {r.Stdin, 's'}, {r.DropInterrupts, 'i'}, {r.asked(), 'e'}} {
		if f.set {
			flags = append(flags, f.letter)
		}
	}
	out := make([]string, 0, 6+len(r.Args)+2*len(r.Env)+2*len(r.Parameters))
	out = append(out, string(flags), r.Name, r.Source, strconv.Itoa(len(r.Args)))
	out = append(out, r.Args...)
	for _, pairs := range [][]Pair{r.Env, r.Parameters} {
		out = append(out, strconv.Itoa(len(pairs)))
		for _, p := range pairs {
			out = append(out, p.Name, p.Value)
		}
	}
	if r.asked() {
		out = r.Extras.fields(out)
	}
	return out
}

// Append appends the whole Run frame to b.
func (r *Run) Append(b []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, TypeRun)
	for _, f := range r.fields() {
		b = AppendField(b, f)
	}
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-headerLen))
	return b
}

// AppendZ appends the fields of the line variant, each ended by a NUL. A field
// that holds a NUL cannot be sent this way.
func (r *Run) AppendZ(b []byte) ([]byte, error) {
	for _, f := range r.fields() {
		if strings.IndexByte(f, 0) >= 0 {
			return nil, errors.New("the script, an argument or a variable holds a NUL byte, which this language cannot represent")
		}
		b = append(append(b, f...), 0)
	}
	return b, nil
}

// AppendField appends one field: four bytes of length, big-endian, and the bytes.
func AppendField(b []byte, f string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...)
}

// Fields splits a payload. The fields alias it.
func Fields(p []byte) ([][]byte, error) {
	var out [][]byte
	for len(p) > 0 {
		if len(p) < 4 {
			return nil, fmt.Errorf("%w: %d bytes where a field should begin", ErrGarbage, len(p))
		}
		n := binary.BigEndian.Uint32(p)
		if p = p[4:]; uint64(n) > uint64(len(p)) {
			return nil, fmt.Errorf("%w: a field of %d bytes with %d left", ErrGarbage, n, len(p))
		}
		if out = append(out, p[:n]); len(out) > 1024 {
			return nil, fmt.Errorf("%w: too many fields", ErrGarbage)
		}
		p = p[n:]
	}
	return out, nil
}

// Next splits the first frame off buf. ok is false when buf does not hold a
// whole frame yet; err says that it never will.
func Next(buf []byte) (t byte, payload, rest []byte, ok bool, err error) {
	if len(buf) < headerLen {
		return 0, nil, buf, false, nil
	}
	n := binary.BigEndian.Uint32(buf)
	if n > MaxFrame || !fromDriver(buf[4]) || buf[4] == TypeRecord && n > maxRecord {
		return 0, nil, buf, false, fmt.Errorf("%w: type %d with %d bytes", ErrGarbage, buf[4], n)
	}
	end := headerLen + int(n)
	if len(buf) < end {
		return 0, nil, buf, false, nil
	}
	return buf[4], buf[headerLen:end], buf[end:], true, nil
}

// fromDriver reports whether a type is a driver's to send.
func fromDriver(t byte) bool {
	return t == TypeReady || t == TypeDone || t == TypeRecord || t == TypePrepared || t == TypeForked
}

// Done is how a run ended by the driver's word.
type Done struct {
	OK        bool // no uncaught error, exit code 0
	ExitCode  int
	HasValue  bool
	JSON      []byte // nil when the value has no JSON form; not checked
	Text      string
	ErrType   string
	ErrText   string
	Traceback string
	Rich      map[string]string // media type -> base64
}

// doneFields is the least number of fields of a Done frame; pairs of media type
// and base64 follow.
const doneFields = 8

// ParseDone reads the payload of a Done frame: "ok" or "error", exit code, "v"
// if there is a value, JSON, text, error type, error text, traceback.
func ParseDone(p []byte) (*Done, error) {
	f, err := Fields(p)
	if err != nil {
		return nil, err
	}
	if len(f) < doneFields || (len(f)-doneFields)%2 != 0 {
		return nil, fmt.Errorf("%w: %d fields in an end", ErrGarbage, len(f))
	}
	code, err := strconv.Atoi(string(f[1]))
	if err != nil || len(f[1]) > 11 {
		return nil, fmt.Errorf("%w: exit code is no number", ErrGarbage)
	}
	d := &Done{
		OK: string(f[0]) == "ok", ExitCode: code, HasValue: string(f[2]) == "v",
		Text: text(f[4]), ErrType: text(f[5]), ErrText: text(f[6]), Traceback: text(f[7]),
	}
	if len(f[3]) > 0 {
		d.JSON = bytes.Clone(f[3])
	}
	for i := doneFields; i < len(f); i += 2 {
		if d.Rich == nil {
			d.Rich = map[string]string{}
		}
		d.Rich[text(f[i])] = text(f[i+1])
	}
	return d, nil
}

// ParseReady reads the payload of a Ready frame.
func ParseReady(p []byte) (version string, err error) {
	f, err := Fields(p)
	if err != nil {
		return "", err
	}
	if len(f) != 1 || len(f[0]) > 256 {
		return "", fmt.Errorf("%w: a ready with %d fields", ErrGarbage, len(f))
	}
	return text(f[0]), nil
}

// NextLine splits the first line off buf, as Next does for frames.
func NextLine(buf []byte) (line string, rest []byte, ok bool, err error) {
	i := bytes.IndexByte(buf, '\n')
	if i > MaxLine || (i < 0 && len(buf) > MaxLine) {
		return "", buf, false, fmt.Errorf("%w: a line longer than %d bytes", ErrGarbage, MaxLine)
	}
	if i < 0 {
		return "", buf, false, nil
	}
	return text(buf[:i]), buf[i+1:], true, nil
}

// ParseLine reads a line of the line variant: "ready VERSION" or "done CODE
// LINE COMMAND", where LINE is 0 when no failing line is known.
func ParseLine(line string) (t byte, version string, d *Done, err error) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "ready":
		return TypeReady, rest, nil, nil
	case "done":
		d, err := parseDoneLine(rest)
		return TypeDone, "", d, err
	}
	return 0, "", nil, fmt.Errorf("%w: unknown word", ErrGarbage)
}

func parseDoneLine(s string) (*Done, error) {
	codeText, s, _ := strings.Cut(s, " ")
	lineText, command, _ := strings.Cut(s, " ")
	code, err := strconv.Atoi(codeText)
	line, err2 := strconv.Atoi(lineText)
	if err != nil || err2 != nil || len(codeText) > 3 || code < 0 || code > 255 || line < 0 {
		return nil, fmt.Errorf("%w: status or line is no number", ErrGarbage)
	}
	d := &Done{OK: code == 0, ExitCode: code}
	if code == 0 {
		return d, nil
	}
	d.ErrType = "ExitStatus"
	d.ErrText = fmt.Sprintf("the script ended with status %d", code)
	if line > 0 {
		d.ErrText += fmt.Sprintf(" (line %d: %s)", line, command)
		d.Traceback = fmt.Sprintf("line %d: %s", line, command)
	}
	return d, nil
}

// text makes valid UTF-8 of foreign bytes.
func text(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }
