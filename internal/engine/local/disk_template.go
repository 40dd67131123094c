package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine/keeper"
)

// imageTemplate is an empty file system as mkfs.ext4 made it, without its holes: some
// hundred KiB, written in well under the 10 ms that mkfs takes.
type imageTemplate struct {
	size   int64
	pieces []piece
}

type piece struct {
	at   int64
	data []byte
}

// maxTemplates bounds the memory that templates hold.
const maxTemplates = 8

// template returns the template for a quota, made when it is first asked for.
func (m *diskMaker) template(ctx context.Context, quota diskQuota) (*imageTemplate, error) {
	m.mu.Lock()
	t := m.templates[quota]
	m.mu.Unlock()
	if t != nil {
		return t, nil
	}
	t, err := makeTemplate(ctx, m.dir, quota)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.templates {
		if len(m.templates) < maxTemplates {
			break
		}
		delete(m.templates, key) // any: sizes are few
	}
	m.templates[quota] = t
	return t, nil
}

// makeTemplate runs mkfs.ext4 and keeps what it wrote.
func makeTemplate(ctx context.Context, dir string, quota diskQuota) (*imageTemplate, error) {
	const (
		inodeSize = 256
		mib       = 1 << 20
		mkfsTime  = time.Minute
	)
	file, err := keeper.Unnamed(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	// What the file system needs for itself comes on top of what was asked.
	size := quota.bytes + quota.bytes/64 + quota.inodes*inodeSize + 2*mib
	size = (size + mib - 1) / mib * mib
	if err := file.Truncate(size); err != nil {
		return nil, fmt.Errorf("size image: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, mkfsTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, mkfs(), "-q", "-F", "-m", "0", "-b", "4096", "-I", strconv.Itoa(inodeSize),
		"-N", strconv.FormatInt(quota.inodes, 10), "-O", "^has_journal,^resize_inode,^metadata_csum",
		"-E", "lazy_itable_init=1,nodiscard,root_owner=0:0", "/proc/self/fd/3")
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.ExtraFiles = []*os.File{file}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mkfs.ext4: %w: %s", err, strings.TrimSpace(string(out)))
	}
	t := &imageTemplate{size: size}
	return t, t.read(file)
}

// mkfs finds the program also where PATH leaves out sbin.
func mkfs() string {
	for _, p := range []string{"/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return "mkfs.ext4"
}

// read takes over the parts of a file that are not holes.
func (t *imageTemplate) read(file *os.File) error {
	for at := int64(0); ; {
		start, err := unix.Seek(int(file.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read image: %w", err)
		}
		end, err := unix.Seek(int(file.Fd()), start, unix.SEEK_HOLE)
		if err != nil {
			return fmt.Errorf("read image: %w", err)
		}
		data := make([]byte, end-start)
		if _, err := file.ReadAt(data, start); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read image: %w", err)
		}
		t.add(start, data)
		at = end
	}
}

// add keeps data without its empty blocks: mkfs writes zeros too, and a file
// system without holes gives all of itself as one piece.
func (t *imageTemplate) add(at int64, data []byte) {
	const block = 4096
	for len(data) > 0 {
		n := min(block, len(data))
		b := data[:n]
		data = data[n:]
		if !empty(b) {
			if last := len(t.pieces) - 1; last >= 0 && t.pieces[last].at+int64(len(t.pieces[last].data)) == at {
				t.pieces[last].data = append(t.pieces[last].data, b...)
			} else {
				t.pieces = append(t.pieces, piece{at: at, data: append([]byte(nil), b...)})
			}
		}
		at += int64(n)
	}
}

func empty(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// write makes file a copy.
func (t *imageTemplate) write(file *os.File) error {
	if err := file.Truncate(t.size); err != nil {
		return err
	}
	for _, p := range t.pieces {
		if _, err := file.WriteAt(p.data, p.at); err != nil {
			return err
		}
	}
	return nil
}
