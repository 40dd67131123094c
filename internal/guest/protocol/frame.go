package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Version is the protocol's version. A keeper refuses a server that has another
// one with a Failed frame that says so.
const Version = 6

// MaxFrame bounds the payload of any frame, in bytes.
const MaxFrame = 64 << 20

// HeaderLen is the length of a frame's header: four bytes of payload length,
// big-endian, and one byte of type.
const HeaderLen = 5

// ErrFrameTooLarge is returned for a frame whose header claims more than the limit.
var ErrFrameTooLarge = errors.New("frame is larger than allowed")

// Append appends a whole frame to b.
func Append(b []byte, t Type, payload []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = append(b, byte(t))
	return append(b, payload...)
}

// AppendFrame appends a whole frame with a message to b.
func AppendFrame(b []byte, t Type, m Message) []byte {
	at := len(b)
	b = AppendMessage(append(b, 0, 0, 0, 0, byte(t)), m)
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-HeaderLen))
	return b
}

// Write writes one frame with a single Write call.
func Write(w io.Writer, t Type, payload []byte) error {
	_, err := w.Write(Append(make([]byte, 0, HeaderLen+len(payload)), t, payload))
	return err
}

// Read reads one frame. buf is reused for the payload when it is large enough.
// A clean end between frames is io.EOF, one inside a frame io.ErrUnexpectedEOF.
func Read(r io.Reader, buf []byte, limit int) (Type, []byte, error) {
	var h [HeaderLen]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint32(h[:4]))
	if n > limit {
		return 0, nil, fmt.Errorf("read frame of type %d with %d bytes: %w", h[4], n, ErrFrameTooLarge)
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return Type(h[4]), buf, nil
}
