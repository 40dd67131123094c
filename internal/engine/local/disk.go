package local

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/remuda"
)

// diskQuota is what the one writable file system of a sandbox may hold, and what
// backs it: memory, charged to the sandbox's own limit, or an image file for
// disks that memory could not hold.
type diskQuota struct {
	bytes, inodes int64
	image         bool
}

func quotaOf(r remuda.Resources) diskQuota {
	const mib = 1 << 20
	return diskQuota{
		bytes:  int64(r.DiskMB) * mib,
		inodes: max(4096, int64(r.DiskMB)*64),
		image:  r.DiskMB*2 > r.MemoryMB,
	}
}

// diskMaker makes disk images and minds that they cannot promise more than there
// is.
type diskMaker struct {
	dir string

	mu        sync.Mutex
	templates map[diskQuota]*imageTemplate
	living    map[*diskImage]struct{}
}

func newDiskMaker(dir string) *diskMaker {
	return &diskMaker{dir: dir, templates: map[diskQuota]*imageTemplate{}, living: map[*diskImage]struct{}{}}
}

// diskSlack stays free on the data directory's file system.
const diskSlack = 64 << 20

// reserve refuses a disk that, with all others full, would not fit.
func (m *diskMaker) reserve(d *diskImage) error {
	var st unix.Statfs_t
	if err := unix.Statfs(m.dir, &st); err != nil {
		return fmt.Errorf("look at the free space of %s: %w", m.dir, err)
	}
	free := int64(st.Bavail) * st.Bsize
	m.mu.Lock()
	defer m.mu.Unlock()
	for other := range m.living {
		free -= other.unused()
	}
	if free < d.quota.bytes+diskSlack {
		return &remuda.Error{
			Code: remuda.CodeExhausted, Message: fmt.Sprintf("there is no room for a disk of %d MiB", d.quota.bytes>>20),
			Cause:  fmt.Sprintf("%d MiB of the data directory's file system are neither used nor promised", max(free, 0)>>20),
			Remedy: "ask for less disk, end what runs, or give the server a larger data directory", RetryAfterSeconds: 10,
		}
	}
	m.living[d] = struct{}{}
	return nil
}

func (m *diskMaker) forget(d *diskImage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.living, d)
}

// make makes a disk image whose root belongs to owner on the host. On error
// nothing is left of it.
func (m *diskMaker) make(ctx context.Context, quota diskQuota, owner int) (*diskImage, error) {
	d := &diskImage{maker: m, quota: quota, mount: -1, holders: 1}
	if err := m.reserve(d); err != nil {
		return nil, err
	}
	if err := d.build(ctx, owner); err != nil {
		if left := d.release(ctx); left != nil {
			err = fmt.Errorf("%w (and %w)", err, left)
		}
		return nil, fmt.Errorf("make a disk of %d MiB: %w", quota.bytes>>20, err)
	}
	return d, nil
}
