package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// dsync makes a write return when what it wrote, and what is needed to read it again,
// is on the disk.
const dsync = unix.O_DSYNC

// The header is this line, the owner, and zeros. The number is of the form of the file:
// a journal of another form may hold what somebody relies on, so it is not begun anew.
const (
	magicName = "remuda journal "
	magic     = magicName + "1\n"
	maxOwner  = 64
)

// A frame is the number of a record and the length of its payload, a checksum of both
// and of the payload, and the payload.
const frameHeader = 8 + 4 + 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record is a frame, read.
type record struct {
	number  uint64
	payload []byte
}

func appendFrame(to []byte, number uint64, payload []byte) []byte {
	start := len(to)
	to = binary.LittleEndian.AppendUint64(to, number)
	to = binary.LittleEndian.AppendUint32(to, uint32(len(payload))) // at most MaxRecord
	to = binary.LittleEndian.AppendUint32(to, 0)
	to = append(to, payload...)
	binary.LittleEndian.PutUint32(to[start+12:], checksum(to[start:start+12], payload))
	return to
}

func checksum(head, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, payload)
}

// scan reads the records of a half, and says how much of it they take. It ends where no
// whole record follows: at the end of what was written, or at a write that was cut off.
// What follows there is older, and has lower numbers.
func scan(half []byte) (records []record, size int) {
	last := uint64(0)
	for {
		rest := half[size:]
		if len(rest) < frameHeader {
			return records, size
		}
		number, length := binary.LittleEndian.Uint64(rest), binary.LittleEndian.Uint32(rest[8:])
		if number <= last || length > MaxRecord || int(length) > len(rest)-frameHeader {
			return records, size
		}
		payload := rest[frameHeader : frameHeader+int(length)]
		if binary.LittleEndian.Uint32(rest[12:]) != checksum(rest[:12], payload) {
			return records, size
		}
		records = append(records, record{number, payload})
		last, size = number, size+frameHeader+int(length)
	}
}

// read returns the two halves of a file, nil if it is not the owner's journal. What is
// missing at the end of the file reads as zeros.
func read(file *os.File, owner string) ([]byte, error) {
	content := make([]byte, fileSize)
	n, err := io.ReadFull(io.NewSectionReader(file, 0, fileSize), content)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	head := content[:headerSize]
	switch {
	case n < headerSize || !bytes.HasPrefix(head, []byte(magicName)):
		return nil, nil
	case !bytes.HasPrefix(head, []byte(magic)):
		return nil, fmt.Errorf("the journal %s has a form that this program does not know: start the program that has written it", file.Name())
	case !bytes.Equal(head, header(owner)):
		return nil, nil
	case n < fileSize: // so that no write makes it longer
		if err := fill(file, int64(n)); err != nil {
			return nil, err
		}
	}
	return content[headerSize:], nil
}

func header(owner string) []byte {
	head := make([]byte, headerSize)
	copy(head, magic)
	copy(head[len(magic):len(magic)+maxOwner], owner)
	return head
}

// create makes a file an empty journal. Its header comes last: without it the file is
// none.
func create(file *os.File, owner string) error {
	if len(owner) > maxOwner {
		return fmt.Errorf("the owner of a journal has a name of %d bytes; %d are the most", len(owner), maxOwner)
	}
	if _, err := file.WriteAt(make([]byte, headerSize), 0); err != nil {
		return fmt.Errorf("make the journal: %w", err)
	}
	if err := fill(file, headerSize); err != nil {
		return err
	}
	_, err := file.WriteAt(header(owner), 0)
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = syncDir(filepath.Dir(file.Name()))
	}
	if err != nil {
		return fmt.Errorf("make the journal: %w", err)
	}
	return nil
}

// fill writes zeros from an offset to the end of the file: space that is there already
// costs less to write to than space that the file system has to find.
func fill(file *os.File, from int64) error {
	if _, err := file.WriteAt(make([]byte, fileSize-from), from); err != nil {
		return fmt.Errorf("make room in the journal: %w", err)
	}
	return nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
