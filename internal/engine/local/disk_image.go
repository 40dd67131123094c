package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine/keeper"
)

// diskImage is an ext4 file system in a sparse file without a name, behind a
// loop device that clears itself, mounted in no namespace: when the last
// descriptor and the sandbox's mount are gone, so is all of it, whoever died.
type diskImage struct {
	maker *diskMaker
	quota diskQuota
	file  *os.File // the image; nil of an earlier server's, which nobody can open again
	loop  string   // path of the loop device, "" before
	name  string   // that the loop device has for it
	mount int      // descriptor of the detached mount, -1 before and when passed on
	root  *os.File // its root directory, kept to shut the file system down

	holding sync.Mutex
	holders int // the instance, and who has its workspace; no longer ours at 0
	left    bool
}

// hold keeps the disk until drop. It reports false when it has gone. No disk, in
// memory, is held by whoever has a file of it open.
func (d *diskImage) hold() bool {
	if d == nil {
		return true
	}
	d.holding.Lock()
	defer d.holding.Unlock()
	if d.holders == 0 || d.left {
		return false
	}
	d.holders++
	return true
}

// drop lets go of the disk, which is released with its last holder.
func (d *diskImage) drop(ctx context.Context) error {
	if d == nil {
		return nil
	}
	d.holding.Lock()
	d.holders--
	last := d.holders == 0 && !d.left
	d.holding.Unlock()
	if !last {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keeper.CleanupTime)
	defer cancel()
	return d.release(ctx)
}

// build makes everything; release undoes what there is.
func (d *diskImage) build(ctx context.Context, owner int) error {
	t, err := d.maker.template(ctx, d.quota)
	if err != nil {
		return err
	}
	file, err := keeper.Unnamed(d.maker.dir)
	if err != nil {
		return err
	}
	d.maker.mu.Lock() // others look at how much of it is used
	d.file = file
	d.maker.mu.Unlock()
	if err := t.write(d.file); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	d.name = "remuda-" + randomHex(12)
	loop, err := attachLoop(d.file, d.name)
	if err != nil {
		return err
	}
	defer func() { _ = loop.Close() }() // the mount holds the device
	d.loop = loop.Name()
	if d.mount, err = mountDetached(d.loop); err != nil {
		return err
	}
	fd, err := unix.Openat(d.mount, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the root of the disk: %w", err)
	}
	d.root = os.NewFile(uintptr(fd), "root of a disk")
	if err := d.root.Chown(owner, owner); err != nil {
		return fmt.Errorf("give the disk to the sandbox: %w", err)
	}
	if err := unix.Unlinkat(fd, "lost+found", unix.AT_REMOVEDIR); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("empty the disk: %w", err)
	}
	return nil
}

// passed closes our hold on the mount once the sandbox has it.
func (d *diskImage) passed() {
	if d.mount >= 0 {
		_ = unix.Close(d.mount)
		d.mount = -1
	}
}

// unused is how much of the promise the image does not hold yet.
func (d *diskImage) unused() int64 {
	if d.file == nil {
		return d.free()
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(d.file.Fd()), &st); err != nil {
		return d.quota.bytes
	}
	return max(0, d.quota.bytes-st.Blocks*512)
}

// free is unused of an image that only its file system knows.
func (d *diskImage) free() int64 {
	var st unix.Statfs_t
	if d.root == nil || unix.Fstatfs(int(d.root.Fd()), &st) != nil {
		return d.quota.bytes
	}
	return min(d.quota.bytes, int64(st.Bfree)*st.Bsize)
}

// ext4Shutdown is EXT4_IOC_SHUTDOWN, with the flag that throws away what is not
// written yet: nobody will read it.
const (
	ext4Shutdown      = 0x8004587d
	shutdownNoLogSync = 2
)

// release lets go of the disk and returns when the machine has nothing left of
// it. The sandbox must be gone.
func (d *diskImage) release(ctx context.Context) error {
	d.passed()
	if d.root != nil {
		flag := uint32(shutdownNoLogSync)
		// Without it the data is written out first, which only takes longer.
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, d.root.Fd(), ext4Shutdown, uintptr(unsafe.Pointer(&flag)))
		_ = d.root.Close()
		d.root = nil
	}
	err := d.waitDetached(ctx)
	d.maker.forget(d) // before the file is closed, which others may look at until then
	if d.file != nil {
		_ = d.file.Close()
		d.file = nil
	}
	return err
}

// leave lets go of the disk, which the sandbox has for itself from here on.
func (d *diskImage) leave() {
	if d == nil {
		return
	}
	d.holding.Lock()
	defer d.holding.Unlock()
	d.left = true
	d.passed()
	d.maker.forget(d)
	for _, f := range []**os.File{&d.root, &d.file} {
		if *f != nil {
			_ = (*f).Close()
			*f = nil
		}
	}
}

// imageName is how a later server knows a disk.
type imageName struct {
	Loop string `json:"loop"` // path of the device
	Name string `json:"name"` // that the device has for the image
}

// adopt takes over the disk of an earlier server's sandbox. Unless that has ended,
// and its disk with it, open has to follow.
func (m *diskMaker) adopt(name imageName, quota diskQuota) *diskImage {
	d := &diskImage{maker: m, quota: quota, mount: -1, holders: 1, loop: name.Loop, name: name.Name}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.living[d] = struct{}{} // it was reserved, whatever is free now
	return d
}

// open opens a directory of it. No disk is one in memory.
func (d *diskImage) open(dir func() (*os.File, error)) error {
	if d == nil {
		return nil
	}
	root, err := dir()
	if err != nil {
		return err
	}
	d.maker.mu.Lock() // others look at how much of it is used
	defer d.maker.mu.Unlock()
	d.root = root
	return nil
}

// waitDetached waits until the kernel has cleared the loop device, or it serves
// another file. Our image cannot be taken for another: its name is its own.
func (d *diskImage) waitDetached(ctx context.Context) error {
	if d.loop == "" {
		return nil
	}
	for wait := 200 * time.Microsecond; ; wait = min(2*wait, 20*time.Millisecond) {
		ours, err := backs(d.loop, d.name)
		if err != nil || !ours {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("%s still holds the disk of a sandbox that is gone: %w", d.loop, ctx.Err())
		}
	}
}

// backs reports whether a loop device serves the image of a name.
func backs(loop, name string) (bool, error) {
	dev, err := os.OpenFile(loop, os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENXIO) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", loop, err)
	}
	defer func() { _ = dev.Close() }()
	info, err := unix.IoctlLoopGetStatus64(int(dev.Fd()))
	if errors.Is(err, unix.ENXIO) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", loop, err)
	}
	return unix.ByteSliceToString(info.File_name[:]) == name, nil
}

// attachLoop puts a file behind a free loop device, which is cleared when its
// last user has gone. The device knows it by name.
func attachLoop(file *os.File, name string) (*os.File, error) {
	info := unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}
	if copy(info.File_name[:len(info.File_name)-1], name) < len(name) {
		return nil, fmt.Errorf("the name %q of an image is too long", name)
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("find a loop device: %w", err)
	}
	defer func() { _ = control.Close() }()
	const attempts = 64 // others take devices at the same time
	for range attempts {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free loop device: %w", err)
		}
		dev, err := openLoop(n)
		if err != nil {
			return nil, err
		}
		err = unix.IoctlLoopConfigure(int(dev.Fd()), &unix.LoopConfig{
			Fd: uint32(file.Fd()), Size: 4096, Info: info,
		})
		if err == nil {
			return dev, nil
		}
		_ = dev.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("configure loop device %d: %w", n, err)
		}
	}
	return nil, errors.New("no loop device could be had: others took each one first")
}

// openLoop opens a device whose node may be made a moment later.
func openLoop(n int) (*os.File, error) {
	path := fmt.Sprintf("/dev/loop%d", n)
	const attempts = 50
	for try := 0; ; try++ {
		dev, err := os.OpenFile(path, os.O_RDWR, 0)
		if err == nil {
			return dev, nil
		}
		if !errors.Is(err, os.ErrNotExist) || try == attempts {
			return nil, fmt.Errorf("open loop device: %w", err)
		}
		time.Sleep(time.Millisecond)
	}
}

// mountDetached mounts the file system on a device without a place in any
// namespace.
func mountDetached(device string) (int, error) {
	fs, err := unix.Fsopen("ext4", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open file system ext4: %w", err)
	}
	defer func() { _ = unix.Close(fs) }()
	if err := unix.FsconfigSetString(fs, "source", device); err != nil {
		return -1, fmt.Errorf("mount %s: %w", device, err)
	}
	// Nothing has to survive a crash, and nothing may run on after the mount.
	for _, flag := range []string{"nobarrier", "noinit_itable"} {
		if err := unix.FsconfigSetFlag(fs, flag); err != nil {
			return -1, fmt.Errorf("mount %s with %s: %w", device, flag, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("mount %s: %w", device, err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOATIME)
	if err != nil {
		return -1, fmt.Errorf("mount %s: %w", device, err)
	}
	return fd, nil
}
