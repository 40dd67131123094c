package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"time"

	"golang.org/x/sys/unix"
)

// fileSystem is one mount of the boot.
type fileSystem struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

func (f fileSystem) mount() error {
	if err := os.MkdirAll(f.target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(f.source, f.target, f.kind, f.flags, f.data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", f.kind, f.target, err)
	}
	return nil
}

func mountAll(list []fileSystem) error {
	for _, f := range list {
		if err := f.mount(); err != nil {
			return err
		}
	}
	return nil
}

// initramfs loads the modules of the disk, mounts the real root and goes on in
// it as its process 1.
func initramfs() error {
	const guarded = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	err := mountAll([]fileSystem{
		{"proc", "/proc", "proc", guarded, ""},
		{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755"},
	})
	if err != nil {
		return err
	}
	if err := loadModules("/modules"); err != nil {
		return err
	}
	for _, disk := range []string{rootDisk, payloadDisk} {
		if err := waitFor(disk, time.Minute); err != nil {
			return err
		}
	}
	err = mountAll([]fileSystem{
		{rootDisk, newRoot, "ext4", 0, ""},
		{payloadDisk, newRoot + payload, "ext4", unix.MS_RDONLY, ""},
	})
	if err != nil {
		return err
	}
	for _, dir := range []string{"/proc", "/dev"} {
		if err := unix.Mount(dir, newRoot+dir, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", dir, err)
		}
	}
	return switchRoot()
}

func switchRoot() error {
	if err := unix.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	return unix.Exec(self, []string{"guest", argMachine}, environment())
}

func environment() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "USER=root", "LANG=C.UTF-8", "TERM=dumb",
	}
}

// loadModules inserts the modules of dir in the order of their names.
func loadModules(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.ko"))
	if err != nil {
		return err
	}
	sort.Strings(files)
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		_ = f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("insert %s: %w", name, err)
		}
	}
	return nil
}

// waitFor waits until path exists. The kernel finds disks in its own time and
// tells nobody who could be waited for here.
func waitFor(path string, limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s did not appear within %v", path, limit)
		}
	}
}

// machine makes the root look like a started Debian machine, runs the steps in a
// child and turns the machine off when it has ended.
func machine() error {
	defer powerOff()
	const guarded = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	err := mountAll([]fileSystem{
		{"sysfs", "/sys", "sysfs", guarded, ""},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2", guarded, "nsdelegate,memory_recursiveprot"},
		{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "gid=5,mode=620,ptmxmode=000"},
		{"tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
	})
	if err != nil {
		return err
	}
	// systemd shares every mount; what works only on private mounts shall fail here.
	if err := unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("share the mounts: %w", err)
	}
	if err := unix.Sethostname([]byte("remuda-vm")); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	if err := exec.Command("/usr/sbin/modprobe", "-a", "loop", "tun").Run(); err != nil {
		return fmt.Errorf("load modules: %w", err)
	}
	child := exec.Command(self, argSteps)
	child.Stdout, child.Stderr = os.Stderr, os.Stderr
	child.Env = environment()
	if err := child.Start(); err != nil {
		return err
	}
	return reapUntil(child.Process.Pid)
}

// loopbackUp turns on the only network that the machine has.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("turn on loopback: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("turn on loopback: %w", err)
	}
	return nil
}

// reapUntil collects every child, own or orphan, until pid has ended.
func reapUntil(pid int) error {
	for {
		got, err := unix.Wait4(-1, nil, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for the steps: %w", err)
		case got == pid:
			return nil
		}
	}
}
