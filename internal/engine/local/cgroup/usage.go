package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// field says where a number stands: a file of the group, and the word before the
// number ("" when the number is all there is).
type field struct {
	file string
	key  string
	unit int64 // nanoseconds or bytes for each of the number
}

// usageFiles is the table of names of one version. Paths are made by the backend.
type usageFiles struct {
	cpu, peak, oomKills, pidsMax field
	memory                       field // in use now
	weight                       weightFile
	dir                          func(path, file string) string
}

// weightFile is where a group's share of a busy processor is set, and its values
// for work that somebody waits for and work that nobody does.
type weightFile struct {
	file          string
	normal, yield int
	idle          string // where a group is made to come last
}

// Yield makes the group give way to others on a busy processor, or not any more.
// A group is made without yielding.
func (g *Group) Yield(on bool) error {
	if err := g.reach(); err != nil {
		return err
	}
	defer g.holding.RUnlock()
	weight := g.backend.files().weight
	if on {
		return setWeight(g.backend, g.path, weight.yield)
	}
	return setWeight(g.backend, g.path, weight.normal)
}

// Share gives the group the part of a busy processor that one of so many has who
// divide up a normal group's. It is always more than what yields.
func (g *Group) Share(among int) error {
	if err := g.reach(); err != nil {
		return err
	}
	defer g.holding.RUnlock()
	weight := g.backend.files().weight
	return setWeight(g.backend, g.path, max(weight.normal/max(1, among), 2*weight.yield))
}

// Last makes the group come last, or not any more: it runs only where no other group of
// its herd wants the processor, and gives that up at once when one does. Afterwards it has
// a normal group's weight. Before Linux 5.15 it has the weight of one that yields instead.
func (g *Group) Last(on bool) error {
	if err := g.reach(); err != nil {
		return err
	}
	defer g.holding.RUnlock()
	table := g.backend.files()
	value, weight := "0", table.weight.normal
	if on {
		value, weight = "1", table.weight.yield
	}
	err := put(table.dir(g.path, table.weight.idle), value)
	switch {
	case errors.Is(err, unix.ENOENT): // or the group has gone, which the other file says too
		return setWeight(g.backend, g.path, weight)
	case err != nil:
		return fmt.Errorf("have cgroup %s come last: %w", g.path, err)
	}
	return nil
}

// setWeight also takes a group that came last, which the kernel refuses a weight.
func setWeight(b backend, path string, weight int) error {
	table := b.files()
	file, value := table.dir(path, table.weight.file), strconv.Itoa(weight)
	err := put(file, value)
	if errors.Is(err, unix.EINVAL) {
		if err = put(table.dir(path, table.weight.idle), "0"); err == nil {
			err = put(file, value)
		}
	}
	if err != nil {
		return fmt.Errorf("set weight of cgroup %s: %w", path, err)
	}
	return nil
}

// put writes a file of a cgroup. Not by package os, which would take the file
// into its poller and out again: the kernel offers that for these files.
func put(path, value string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	for range interruptions { // to lower a limit takes time, in which the runtime may signal us
		if _, err = unix.Write(fd, []byte(value)); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// get reads a file of a cgroup, likewise.
func get(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }() // it was only read
	var room [1024]byte
	b := room[:0]
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := unix.Read(fd, b[len(b):cap(b)])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return slices.Clone(b), nil
		default:
			b = b[:len(b)+n]
		}
	}
}

// interruptions are how many signals in a row are taken for an accident.
const interruptions = 10

// usageReader keeps the files open: a read is then one system call.
type usageReader struct {
	fields [4]field
	files  [4]int // descriptors
}

// Watch opens the files that Usage reads. Without it the first Usage does.
func (g *Group) Watch() error {
	if err := g.reach(); err != nil {
		return err
	}
	defer g.holding.RUnlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.watch()
}

func (g *Group) watch() error {
	if g.usage != nil {
		return nil
	}
	table := g.backend.files()
	r := &usageReader{fields: [4]field{table.cpu, table.peak, table.oomKills, table.pidsMax}, files: [4]int{-1, -1, -1, -1}}
	for i, f := range r.fields {
		fd, err := unix.Open(table.dir(g.path, f.file), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			r.close()
			return fmt.Errorf("open usage of cgroup %s: %s: %w", g.path, f.file, err)
		}
		r.files[i] = fd
	}
	g.usage = r
	return nil
}

// CPU reads how much processor time the group has used.
func (g *Group) CPU() (time.Duration, error) {
	if err := g.reach(); err != nil {
		return 0, err
	}
	defer g.holding.RUnlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.watch(); err != nil {
		return 0, err
	}
	ns, err := g.usage.read(0)
	if err != nil {
		return 0, fmt.Errorf("read usage of cgroup %s: %w", g.path, err)
	}
	return time.Duration(ns), nil
}

// Usage reads what the group has used.
func (g *Group) Usage() (Usage, error) {
	if err := g.reach(); err != nil {
		return Usage{}, err
	}
	defer g.holding.RUnlock()
	return g.read()
}

func (g *Group) read() (Usage, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.watch(); err != nil {
		return Usage{}, err
	}
	var v [4]int64
	for i := range v {
		n, err := g.usage.read(i)
		if err != nil {
			return Usage{}, fmt.Errorf("read usage of cgroup %s: %w", g.path, err)
		}
		v[i] = n
	}
	return Usage{CPU: time.Duration(v[0]), PeakMemory: v[1], OOMKills: uint64(v[2]), PidsMax: uint64(v[3])}, nil
}

// OOMKills reads only that.
func (g *Group) OOMKills() (uint64, error) {
	n, err := g.number(g.backend.files().oomKills)
	return uint64(n), err
}

// Memory reads how many bytes are in use now, pages of files among them.
func (g *Group) Memory() (int64, error) { return g.number(g.backend.files().memory) }

func (g *Group) number(f field) (int64, error) {
	if err := g.reach(); err != nil {
		return 0, err
	}
	defer g.holding.RUnlock()
	b, err := get(g.backend.files().dir(g.path, f.file))
	if err != nil {
		return 0, err
	}
	return parseField(b, f.key)
}

func (r *usageReader) read(i int) (int64, error) {
	var buf [1024]byte // the files are short, or the field is near their start
	n, err := unix.Pread(r.files[i], buf[:], 0)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", r.fields[i].file, err)
	}
	v, err := parseField(buf[:n], r.fields[i].key)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", r.fields[i].file, err)
	}
	return v * r.fields[i].unit, nil
}

func (r *usageReader) close() {
	for _, fd := range r.files {
		if fd >= 0 {
			_ = unix.Close(fd) // it was only read
		}
	}
}

// parseField finds the number of key in a file of "key number" lines, or the
// only number of a file when key is empty. A key that is absent is an error.
func parseField(b []byte, key string) (int64, error) {
	for len(b) > 0 {
		line, rest, _ := bytes.Cut(b, []byte{'\n'})
		b = rest
		if key == "" {
			return strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
		}
		if word, number, ok := bytes.Cut(line, []byte{' '}); ok && string(word) == key {
			return strconv.ParseInt(string(bytes.TrimSpace(number)), 10, 64)
		}
	}
	return 0, fmt.Errorf("no field %q", key)
}
