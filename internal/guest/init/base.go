package guestinit

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// baseBuilder makes the part of a root that a sandbox never changes.
type baseBuilder struct {
	at   string // where the root is mounted
	root *protocol.Root
}

func (b *baseBuilder) in(p string) string { return b.at + path.Clean("/"+p) }

func (b *baseBuilder) build() error {
	for _, step := range []func() error{b.bindSources, b.fillRoot, b.devices, b.mountPoints} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (b *baseBuilder) bindSources() error {
	for _, m := range b.root.Binds {
		var st unix.Stat_t
		if err := unix.Stat(m.Source, &st); err != nil {
			if m.Optional && errors.Is(err, unix.ENOENT) {
				continue
			}
			return wrap(err, "bind", m.Source)
		}
		if err := makeTarget(b.in(m.Target), st.Mode&unix.S_IFMT == unix.S_IFDIR); err != nil {
			return err
		}
		if err := bind(m.Source, b.in(m.Target), unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV); err != nil {
			return err
		}
	}
	return nil
}

// makeTarget makes what a mount needs to be put on.
func makeTarget(target string, dir bool) error {
	if dir {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(path.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	return f.Close()
}

func (b *baseBuilder) fillRoot() error {
	for _, dir := range []string{"/proc", "/sys", emptyDir, "/dev/pts", "/root", "/home", keeperDir, childDisk, protocol.LayerDir, protocol.NodeModules} {
		if err := os.MkdirAll(b.in(dir), 0o755); err != nil {
			return err
		}
	}
	for _, l := range b.root.Links {
		if err := os.MkdirAll(path.Dir(b.in(l.Path)), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(l.Target, b.in(l.Path)); err != nil {
			return err
		}
	}
	for _, t := range b.root.Files {
		if err := b.write(t); err != nil {
			return err
		}
	}
	return nil
}

// write writes a small file of the root.
func (b *baseBuilder) write(t protocol.Text) error {
	full := b.in(t.Path)
	if err := os.MkdirAll(path.Dir(full), 0o755); err != nil {
		return err
	}
	mode := os.FileMode(t.Mode)
	if mode == 0 {
		mode = 0o444
	}
	return os.WriteFile(full, []byte(t.Content), mode)
}

func (b *baseBuilder) devices() error {
	for _, name := range b.root.Devices {
		if name == "" || strings.ContainsAny(name, "/\x00") {
			return fmt.Errorf("%q is not the name of a device", name)
		}
		if err := makeTarget(b.in("/dev/"+name), false); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+name, b.in("/dev/"+name), "", unix.MS_BIND, ""); err != nil {
			return wrap(err, "bind device", name)
		}
	}
	for _, l := range [][2]string{
		{"pts/ptmx", "/dev/ptmx"}, {"/proc/self/fd", "/dev/fd"}, {"/proc/self/fd/0", "/dev/stdin"},
		{"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"},
	} {
		if err := os.Symlink(l[0], b.in(l[1])); err != nil {
			return err
		}
	}
	return nil
}

func (b *baseBuilder) mountPoints() error {
	for _, w := range writable {
		if err := os.MkdirAll(b.in(w.target), 0o755); err != nil {
			return err
		}
	}
	return nil
}
