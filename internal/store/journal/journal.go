package journal

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
)

// MaxRecord is the largest payload of a record, in bytes.
const MaxRecord = 32 << 10

// Size of the file: its header and two halves.
const (
	headerSize = 4 << 10
	halfSize   = 512 << 10
	fileSize   = headerSize + 2*halfSize
	maxBatch   = halfSize / 4
)

// unread is more than there are records in a batch. A loss of power may leave a batch
// without its beginning, whose numbers nobody knows then: those that come after them
// are above these, or what was never durable could follow them in the file one day.
const unread = 1 << 20

// Errors of Append. The record is not in the journal then.
var (
	ErrFull   = errors.New("the journal has no room now")
	ErrTooBig = errors.New("the record is too big for the journal")
	ErrClosed = errors.New("the journal is closed")
)

// Entry is a record that is durable.
type Entry[T any] struct {
	Number uint64 // of each record is above that of the one before
	Value  T
}

// Journal is an open journal of records that mean Ts. Its methods may be called from
// any goroutine.
type Journal[T any] struct {
	file *os.File

	writing sync.Mutex // held while a batch goes to the file; taken before mu
	number  uint64     // of the last record; guarded by writing

	mu        sync.Mutex
	gathering *batch[T]      // takes records until its turn to be written comes
	batches   sync.WaitGroup // that are not written
	halves    [2]half
	current   int // the half that is written to
	forgotten uint64
	kept      []Entry[T] // durable and not forgotten, in order
	closed    bool
}

// half is one of the two parts of the file.
type half struct {
	end  int64  // how much of it is in use
	last uint64 // number of the last record in it
}

// batch are records that are written together.
type batch[T any] struct {
	payloads [][]byte
	values   []T
	size     int           // of the payloads
	done     chan struct{} // closed when err is known
	err      error
}

// Options say which journal to open, and how.
type Options[T any] struct {
	Path string // of the file; made, with mode 0600, when it is not there
	// Owner names whose records these are, in at most 64 bytes. A file of another owner
	// is begun anew: it is none of this one's.
	Owner string
	// Forgotten is the number of the last record that the owner keeps elsewhere.
	Forgotten uint64
	// Lasting has each append wait for the disk.
	Lasting bool
	// Decode makes a value of a payload that an earlier process has appended.
	Decode func(payload []byte) (T, error)
}

// Open opens a journal. What it holds that is not forgotten is in Kept. A record that
// cannot be decoded is an error, and leaves the file as it is.
func Open[T any](o Options[T]) (*Journal[T], error) {
	flag := os.O_RDWR | os.O_CREATE
	if o.Lasting {
		flag |= dsync
	}
	file, err := os.OpenFile(o.Path, flag, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	j := &Journal[T]{file: file, forgotten: o.Forgotten, number: o.Forgotten}
	if err := j.load(o); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return j, nil
}

// load takes over what the file holds, or makes it a journal.
func (j *Journal[T]) load(o Options[T]) error {
	content, err := read(j.file, o.Owner)
	if err != nil {
		return err
	}
	if content == nil {
		return create(j.file, o.Owner)
	}
	for n := range j.halves {
		start := n * halfSize
		records, size := scan(content[start : start+halfSize])
		j.halves[n].end = int64(size)
		for _, r := range records {
			j.halves[n].last = r.number
			if r.number <= o.Forgotten {
				continue
			}
			value, err := o.Decode(r.payload)
			if err != nil {
				return fmt.Errorf("decode record %d of the journal %s: %w", r.number, o.Path, err)
			}
			j.kept = append(j.kept, Entry[T]{r.number, value})
		}
	}
	slices.SortFunc(j.kept, func(a, b Entry[T]) int { return cmp.Compare(a.Number, b.Number) })
	if j.halves[1].last > j.halves[0].last {
		j.current = 1
	}
	j.number = max(o.Forgotten, j.halves[j.current].last) + unread
	return nil
}

// Append adds a record and returns once it is durable. With an error it is not in the
// journal, except that after a failure of the disk it may be there when the journal is
// opened the next time.
func (j *Journal[T]) Append(payload []byte, value T) error {
	b, first, err := j.join(payload, value)
	switch {
	case err != nil:
		return err
	case first:
		j.write(b)
	default:
		<-b.done
	}
	return b.err
}

// join puts a record into the batch that is written next, and says whether it is the
// first one there: who brings that writes the batch.
func (j *Journal[T]) join(payload []byte, value T) (b *batch[T], first bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	b = j.gathering
	switch {
	case j.closed:
		return nil, false, ErrClosed
	case len(payload) > MaxRecord:
		return nil, false, ErrTooBig
	case b == nil:
		b, first = &batch[T]{done: make(chan struct{})}, true
		j.gathering = b
		j.batches.Add(1)
	case b.size > maxBatch:
		return nil, false, ErrFull
	}
	b.payloads, b.values, b.size = append(b.payloads, payload), append(b.values, value), b.size+len(payload)
	return b, first, nil
}

// write writes a batch when nobody else writes. Until then others join it.
func (j *Journal[T]) write(b *batch[T]) {
	defer j.batches.Done()
	defer close(b.done)
	j.writing.Lock()
	defer j.writing.Unlock()
	j.mu.Lock()
	if j.gathering == b {
		j.gathering = nil
	}
	offset, err := j.place(int64(b.size + frameHeader*len(b.payloads)))
	j.mu.Unlock()
	if err != nil {
		b.err = err
		return
	}
	frames := make([]byte, 0, b.size+frameHeader*len(b.payloads))
	entries := make([]Entry[T], len(b.values))
	for i, payload := range b.payloads {
		j.number++ // also of what fails: another one must not have its number
		frames = appendFrame(frames, j.number, payload)
		entries[i] = Entry[T]{j.number, b.values[i]}
	}
	if _, err := j.file.WriteAt(frames, offset); err != nil {
		b.err = fmt.Errorf("write to the journal: %w", err)
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	h := &j.halves[j.current]
	h.end, h.last = h.end+int64(len(frames)), j.number
	j.kept = append(j.kept, entries...)
}

// place finds room in the file and makes its half the current one. Needs mu.
func (j *Journal[T]) place(size int64) (offset int64, err error) {
	h := j.free(j.current)
	if other := 1 - j.current; h.end > halfSize/2 && j.halves[other].last <= j.forgotten {
		j.current = other
		h = j.free(other)
	}
	if h.end+size > halfSize {
		return 0, ErrFull
	}
	return headerSize + int64(j.current)*halfSize + h.end, nil
}

// free begins a half anew if all that it holds is forgotten. Needs mu.
func (j *Journal[T]) free(n int) *half {
	h := &j.halves[n]
	if h.last <= j.forgotten {
		h.end = 0
	}
	return h
}

// Kept returns the records that are durable and not forgotten, in order. The slice is
// the caller's to read, not to change.
func (j *Journal[T]) Kept() []Entry[T] {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clip(j.kept)
}

// Len is how many records Kept would return.
func (j *Journal[T]) Len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.kept)
}

// Forget says that the records up to a number are durable elsewhere.
func (j *Journal[T]) Forget(number uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for n < len(j.kept) && j.kept[n].Number <= number {
		n++
	}
	// In a new array: others may read the old one, and it would keep its values alive.
	j.kept = slices.Clone(j.kept[n:])
	j.forgotten = max(j.forgotten, number)
}

// Close refuses further records, waits for those on their way, and closes the file. It
// may be called twice.
func (j *Journal[T]) Close() error {
	j.mu.Lock()
	closed := j.closed
	j.closed = true
	j.mu.Unlock()
	if closed {
		return nil
	}
	j.batches.Wait()
	return j.file.Close()
}
