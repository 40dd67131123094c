package channel

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
)

// Template turns a driver that has not run anything into a template.
type Template struct {
	Preload []string // modules to import, in order
	// Exec is the program that children become, with its arguments; without one
	// they stay what they are.
	Exec []string
	// Parts are lists of system calls that children make: see Call.
	Parts [][]Call
	// Code is machine code that makes these calls in children; without it the
	// driver makes them.
	Code []byte
	// Sharing are more lists, of calls that only those make who use Code.
	Sharing [][]Call
}

// Call is one system call, as a driver is to make it.
type Call struct {
	What string // said when it fails
	Args []Arg  // the number first
}

// Arg is an argument of a call.
type Arg struct {
	kind byte
	text string
}

// Int is a number.
func Int(n int64) Arg { return Arg{'i', strconv.FormatInt(n, 10)} }

// Bytes is the address of a copy of b, with a NUL after it.
func Bytes(b []byte) Arg { return Arg{'b', string(b)} }

// Filter is the address of a struct sock_fprog with a classic BPF program.
func Filter(program []byte) Arg { return Arg{'f', string(program)} }

// Message is the address of a struct msghdr with room for one byte and eight
// descriptors.
func Message() Arg { return Arg{'m', ""} }

// Place is the address of something in the driver's process that the driver knows
// by this name.
func Place(name string) Arg { return Arg{'p', name} }

// Append appends the whole Template frame to b: the number of modules and the
// modules; the number of Exec and its strings; Code; for each part, and each of
// Sharing, the number of its calls; for each call what it is, the
// number of its arguments, and for each of these its kind and itself as one field.
func (t *Template) Append(b []byte) []byte {
	return appendFrame(b, TypeTemplate, func(b []byte) []byte {
		for _, texts := range [][]string{t.Preload, t.Exec} {
			b = AppendField(b, strconv.Itoa(len(texts)))
			for _, text := range texts {
				b = AppendField(b, text)
			}
		}
		b = AppendField(b, string(t.Code))
		for _, part := range slices.Concat(t.Parts, t.Sharing) {
			b = AppendField(b, strconv.Itoa(len(part)))
			for _, c := range part {
				b = AppendField(AppendField(b, c.What), strconv.Itoa(len(c.Args)))
				for _, a := range c.Args {
					b = AppendField(b, string(a.kind)+a.text)
				}
			}
		}
		return b
	})
}

// AppendFork appends a Fork frame.
func AppendFork(b []byte) []byte {
	return appendFrame(b, TypeFork, func(b []byte) []byte { return b })
}

func appendFrame(b []byte, t byte, payload func([]byte) []byte) []byte {
	start := len(b)
	b = payload(append(b, 0, 0, 0, 0, t))
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-headerLen))
	return b
}

// ParsePrepared reads the payload of a Prepared frame: why there can be no
// template, or nothing.
func ParsePrepared(p []byte) (refusal string, err error) {
	f, err := Fields(p)
	if err != nil {
		return "", err
	}
	if len(f) != 1 || len(f[0]) > MaxLine {
		return "", fmt.Errorf("%w: a prepared with %d fields", ErrGarbage, len(f))
	}
	return text(f[0]), nil
}

// ParseForked reads the payload of a Forked frame.
func ParseForked(p []byte) (pid int, err error) {
	f, err := Fields(p)
	if err != nil {
		return 0, err
	}
	if len(f) != 1 {
		return 0, fmt.Errorf("%w: a forked with %d fields", ErrGarbage, len(f))
	}
	pid, err = strconv.Atoi(string(f[0]))
	if err != nil || pid <= 1 || len(f[0]) > 11 {
		return 0, fmt.Errorf("%w: a forked without a process", ErrGarbage)
	}
	return pid, nil
}
