package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

// Limits of a tree.
const (
	maxEntries  = 400_000
	maxPathLen  = 1024
	maxPathDeep = 64
)

// modified is what every file of a layer has as its time.
var modified = time.Unix(315532800, 0)

// topFolders are what a layer may hold.
var topFolders = map[string]bool{"python": true, "node": true, "bin": true, "usr": true}

// unpacker writes a tar into a directory. The tar comes from a sandbox in which
// foreign code has run: nothing in it can lead out of the directory, be a device,
// have a privilege, or be more than the limits allow. What it says of owners,
// times and modes is not taken over, so that equal trees become equal layers.
type unpacker struct {
	root    *os.Root
	bytes   int64 // that may still come
	entries int
	links   [][2]string // path and target: made when all else is there
	kept    int64       // bytes written
	skip    func(name string) bool
}

func (u *unpacker) unpack(r io.Reader) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return u.makeLinks()
		}
		if err != nil {
			return err
		}
		if u.entries++; u.entries > maxEntries {
			return fmt.Errorf("it has more than %d files", maxEntries)
		}
		name, err := cleanName(h.Name)
		if err != nil {
			return err
		}
		if name == "." {
			continue
		}
		if err := u.entry(t, h, name); err != nil {
			return fmt.Errorf("%.200q: %w", name, err)
		}
	}
}

// cleanName is a path of the tree, or an error.
func cleanName(name string) (string, error) {
	clean := path.Clean(name)
	top, _, _ := strings.Cut(clean, "/")
	switch {
	case clean == ".":
		return clean, nil
	case len(name) > maxPathLen, strings.Count(clean, "/") > maxPathDeep, strings.ContainsRune(name, 0):
		return "", fmt.Errorf("the path %.100q is too long or deep", name)
	case path.IsAbs(clean), top == "..":
		return "", fmt.Errorf("the path %.200q leads out of the tree", name)
	case !topFolders[top]:
		return "", fmt.Errorf("the path %.200q has no place in a layer", name)
	}
	return clean, nil
}

func (u *unpacker) entry(t *tar.Reader, h *tar.Header, name string) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return u.mkdir(name)
	case tar.TypeReg:
		return u.file(t, h, name)
	case tar.TypeSymlink:
		if err := checkLink(name, h.Linkname); err != nil {
			return err
		}
		u.links = append(u.links, [2]string{name, h.Linkname})
		return u.mkdir(path.Dir(name))
	case tar.TypeLink:
		return u.hardLink(h, name)
	default:
		return fmt.Errorf("it is of the kind %q; only files, directories and links are taken", h.Typeflag)
	}
}

func (u *unpacker) mkdir(name string) error {
	if err := u.root.MkdirAll(name, 0o755); err != nil {
		return err
	}
	return nil
}

// mode is what is left of a file's mode: whether it is a program.
func mode(h *tar.Header) fs.FileMode {
	if h.Mode&0o111 != 0 {
		return 0o755
	}
	return 0o644
}

func (u *unpacker) file(t *tar.Reader, h *tar.Header, name string) error {
	if h.Size < 0 || h.Size > u.bytes {
		return errors.New("it is larger than the limit of the layer")
	}
	u.bytes -= h.Size
	if err := u.mkdir(path.Dir(name)); err != nil {
		return err
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode(h))
	if errors.Is(err, fs.ErrExist) && u.skip != nil && u.skip(name) {
		return nil
	}
	if err != nil {
		return err
	}
	n, err := io.Copy(f, t)
	if err == nil {
		err = f.Chmod(mode(h)) // whatever the umask is
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	u.kept += n
	return err
}

// hardLink makes another name of a file that has come before.
func (u *unpacker) hardLink(h *tar.Header, name string) error {
	target, err := cleanName(h.Linkname)
	if err != nil {
		return err
	}
	st, err := u.root.Lstat(target)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("it is another name of %.200q, which is no file", target)
	}
	if err := u.mkdir(path.Dir(name)); err != nil {
		return err
	}
	return u.root.Link(target, name)
}

// checkLink refuses a symbolic link that leads out of the tree.
func checkLink(name, target string) error {
	if target == "" || len(target) > maxPathLen || strings.ContainsRune(target, 0) {
		return errors.New("it is a link without a target")
	}
	top, _, _ := strings.Cut(name, "/")
	if to := path.Join(path.Dir(name), target); path.IsAbs(target) || to != top && !strings.HasPrefix(to, top+"/") {
		// Programs are links into the tree beside theirs.
		if top == "bin" && !path.IsAbs(target) {
			if other, _, _ := strings.Cut(to, "/"); topFolders[other] {
				return nil
			}
		}
		return fmt.Errorf("it is a link to %.200q, which leads out of the tree", target)
	}
	return nil
}

func (u *unpacker) makeLinks() error {
	for _, l := range u.links {
		err := u.root.Symlink(l[1], l[0])
		if errors.Is(err, fs.ErrExist) && u.skip != nil && u.skip(l[0]) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%.200q: %w", l[0], err)
		}
	}
	u.links = nil
	return nil
}
