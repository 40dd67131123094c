package guestinit

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDirectories holds both kinds to the same: what is inside can be used, and
// nothing leads out.
func TestDirectories(t *testing.T) {
	t.Parallel()
	kinds := map[string]func(string) (directory, error){
		"os.Root": func(dir string) (directory, error) { return os.OpenRoot(dir) },
		"beneath": openBeneath,
	}
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outside := t.TempDir()
			if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("of the host"), 0o644); err != nil {
				t.Fatal(err)
			}
			at := filepath.Join(outside, "inside")
			for _, err := range []error{
				os.Mkdir(at, 0o755), os.Mkdir(at+"/real", 0o755), os.Symlink("real", at+"/link"), os.Symlink(outside, at+"/absolute"),
				os.Symlink("..", at+"/up"), os.Symlink("loop", at+"/loop"), os.Symlink("/proc/self/root", at+"/root"),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			d, err := open(at)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = d.Close() }()
			usesInside(t, d)
			staysInside(t, d, filepath.Join(outside, "secret"))
		})
	}
}

func usesInside(t *testing.T, d directory) {
	t.Helper()
	f, err := d.OpenFile("link/new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("text"); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	_, again := d.OpenFile("real/new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if !errors.Is(again, fs.ErrExist) {
		t.Errorf("a file that exists was made: %v", again)
	}
	if err := errors.Join(d.Mkdir("d", 0o755), d.Rename("link/new", "d/moved"), d.Lchown("d/moved", os.Getuid(), os.Getgid())); err != nil {
		t.Error(err)
	}
	if f, err = d.OpenFile("d/moved", os.O_RDONLY, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if got, err := io.ReadAll(f); err != nil || string(got) != "text" {
		t.Errorf("read %q, %v", got, err)
	}
	if st, err := d.Lstat("link"); err != nil || st.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("a link is %v, %v", st, err)
	}
	list, err := d.OpenFile(".", os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = list.Close() }()
	if entries, err := list.Readdir(-1); err != nil || len(entries) != 7 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
	if err := errors.Join(d.Remove("d/moved"), d.Remove("d")); err != nil {
		t.Error(err)
	}
	if err := d.Remove("d"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removing what is gone: %v", err)
	}
	if err := errors.Join(d.Mkdir("full", 0o755), d.Mkdir("full/x", 0o755)); err != nil {
		t.Error(err)
	}
	if err := d.Remove("full"); !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("removing a directory that is not empty: %v", err)
	}
}

func staysInside(t *testing.T, d directory, secret string) {
	t.Helper()
	for _, name := range []string{"absolute/secret", "up/secret", "../secret", "loop", "loop/x", "root" + secret} {
		if f, err := d.OpenFile(name, os.O_RDONLY, 0); err == nil {
			t.Errorf("%s was opened", name)
			_ = f.Close()
		}
		if f, err := d.OpenFile(name+"new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err == nil && name != "loop" {
			t.Errorf("%snew was made", name)
			_ = f.Close()
		}
		for what, err := range map[string]error{
			"mkdir": d.Mkdir(name+"/y", 0o755), "rename": d.Rename("real", name+"/y"), "chown": d.Lchown(name+"/y", 0, 0), "remove": d.Remove(name + "/y"),
		} {
			if err == nil {
				t.Errorf("%s of %s went outside", what, name)
			}
		}
	}
	if _, err := d.OpenFile("up/secret", os.O_RDONLY, 0); !escapes(err) {
		t.Errorf("the error of a way out is %v", err)
	}
	if content, err := os.ReadFile(secret); err != nil || string(content) != "of the host" {
		t.Errorf("the host's file holds %q, %v", content, err)
	}
}
