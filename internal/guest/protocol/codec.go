package protocol

import (
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf8"
)

// ErrMalformed is returned for bytes that are not the message they should be.
var ErrMalformed = errors.New("malformed message")

// Message is a message with a binary form: its fields in a fixed order, numbers
// as varints, all else after its length. One function of each type names its
// fields for both directions, so that the two cannot differ.
type Message interface{ fields(c *coder) }

// AppendMessage appends the binary form of m to b.
func AppendMessage(b []byte, m Message) []byte {
	c := coder{b: b, writing: true}
	m.fields(&c)
	return c.b
}

// Decode reads what AppendMessage has written. Byte slices in m alias p. It
// accepts nothing that is short, long, or not in its one form.
func Decode(p []byte, m Message) error {
	c := coder{b: p}
	m.fields(&c)
	if c.bad || len(c.b) > 0 {
		return ErrMalformed
	}
	return nil
}

// coder writes fields to the end of b or reads them from its start.
type coder struct {
	b       []byte
	writing bool
	bad     bool // while reading: what follows is not to be believed
}

func (c *coder) uint(v *uint64) {
	if c.writing {
		c.b = binary.AppendUvarint(c.b, *v)
		return
	}
	x, n := binary.Uvarint(c.b)
	// A last byte of zero adds nothing: the same number has a shorter form.
	if n <= 0 || n > 1 && c.b[n-1] == 0 {
		c.fail()
		return
	}
	*v, c.b = x, c.b[n:]
}

// fail gives up reading: what is left reads as nothing.
func (c *coder) fail() { c.bad, c.b = true, nil }

// int64 has small negative numbers short too.
func (c *coder) int64(v *int64) {
	u := uint64(*v)<<1 ^ uint64(*v>>63)
	c.uint(&u)
	if !c.writing && !c.bad {
		*v = int64(u>>1) ^ -int64(u&1)
	}
}

func (c *coder) int(v *int) {
	w := int64(*v)
	c.int64(&w)
	if !c.writing && !c.bad {
		*v = int(w)
	}
}

func (c *coder) uint32(v *uint32) {
	w := uint64(*v)
	c.uint(&w)
	if c.writing || c.bad {
		return
	}
	if w > 1<<32-1 {
		c.fail()
		return
	}
	*v = uint32(w)
}

func (c *coder) bool(v *bool) {
	var w uint64
	if *v {
		w = 1
	}
	c.uint(&w)
	if c.writing || c.bad {
		return
	}
	if w > 1 {
		c.fail()
		return
	}
	*v = w == 1
}

// bytes reads as a part of the input, nil when it is empty.
func (c *coder) bytes(v *[]byte) {
	n := uint64(len(*v))
	c.uint(&n)
	switch {
	case c.writing:
		c.b = append(c.b, *v...)
	case c.bad:
	case n > uint64(len(c.b)):
		c.fail()
	case n > 0:
		*v, c.b = c.b[:n:n], c.b[n:]
	}
}

// string is text: what is not UTF-8 is replaced when it is written and refused
// when it is read.
func (c *coder) string(v *string) {
	if c.writing && !utf8.ValidString(*v) {
		valid := strings.ToValidUTF8(*v, "\uFFFD")
		v = &valid
	}
	if c.raw(v); !utf8.ValidString(*v) {
		*v = ""
		c.fail()
	}
}

// raw is a string of any bytes.
func (c *coder) raw(v *string) {
	if c.writing {
		n := uint64(len(*v))
		c.uint(&n)
		c.b = append(c.b, *v...)
		return
	}
	var b []byte
	c.bytes(&b)
	*v = string(b)
}

// count is the number of elements of a list. Each takes a byte at least, so that
// a few bytes cannot ask for much memory.
func (c *coder) count(have int) int {
	n := uint64(have)
	c.uint(&n)
	if !c.writing && n > uint64(len(c.b)) {
		c.fail()
		return 0
	}
	return int(n)
}

// list is a list of structures or strings.
func list[T any](c *coder, v *[]T, each func(*coder, *T)) {
	n := c.count(len(*v))
	if c.writing {
		for i := range *v {
			each(c, &(*v)[i])
		}
		return
	}
	for range n {
		var t T
		if each(c, &t); c.bad {
			return
		}
		*v = append(*v, t)
	}
}

func stringField(c *coder, v *string) { c.string(v) }
