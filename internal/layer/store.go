package layer

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// store is the directory of layers:
//
//	ORGANIZATION/ID/tree        what instances have
//	ORGANIZATION/ID/layer.json  its lock and what it holds
//	ORGANIZATION/locks/KEY.json locks of equal requests
//	tmp/                        what is being made or removed
type store struct {
	dir string
}

// Names in the directory.
const (
	tmpName   = "tmp"
	treeName  = "tree"
	metaName  = "layer.json"
	locksName = "locks"
)

// meta describes a layer.
type meta struct {
	ID     remuda.LayerID `json:"id"`
	Digest string         `json:"digest"` // of the content
	Files  int            `json:"files"`
	Bytes  int64          `json:"bytes"`
	Lock   remuda.Lock    `json:"lock"`
	MadeAt time.Time      `json:"made_at"`
}

func openStore(dir string) (*store, error) {
	if dir == "" || !filepath.IsAbs(dir) {
		return nil, remuda.Invalid(remuda.FieldError{Field: "dir", Message: "must be an absolute path"})
	}
	for _, d := range []string{dir, filepath.Join(dir, tmpName)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("make the directory of layers: %w", err)
		}
	}
	return &store{dir: dir}, nil
}

var layerName = regexp.MustCompile(`^[0-9a-f]{64}$`)

// place is where a layer is; "" for words that name none.
func (s *store) place(org remuda.OrganizationID, id remuda.LayerID) string {
	if !plainOrg(org) || !layerName.MatchString(string(id)) {
		return ""
	}
	return filepath.Join(s.dir, string(org), string(id))
}

func plainOrg(org remuda.OrganizationID) bool {
	return org == remuda.GlobalOrganization || remuda.IsID(remuda.PrefixOrganization, string(org))
}

func (s *store) layer(org remuda.OrganizationID, id remuda.LayerID) (engine.Layer, bool) {
	at := s.place(org, id)
	if at == "" {
		return engine.Layer{}, false
	}
	if _, err := os.Lstat(filepath.Join(at, metaName)); err != nil {
		return engine.Layer{}, false
	}
	return engine.Layer{ID: id, Path: filepath.Join(at, treeName)}, true
}

// touch keeps a layer from being collected for a while.
func (s *store) touch(org remuda.OrganizationID, id remuda.LayerID) {
	now := time.Now()
	_ = os.Chtimes(s.place(org, id), now, now) // if it is gone the caller will see
}

// draft is a layer on its way.
type draft struct {
	dir    string
	root   *os.Root // of the tree
	files  int
	bytes  int64
	digest string
	room   int64
}

// maxLayer bounds a layer's files.
const maxLayer = 16 << 30

func (s *store) draft() (*draft, error) {
	dir := filepath.Join(s.dir, tmpName, "draft-"+randomWord())
	if err := os.MkdirAll(filepath.Join(dir, treeName), 0o755); err != nil {
		return nil, fmt.Errorf("begin a layer: %w", err)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Join(dir, treeName), 0o755)); err != nil { // whatever the umask is
		return nil, fmt.Errorf("begin a layer: %w", err)
	}
	root, err := os.OpenRoot(filepath.Join(dir, treeName))
	if err != nil {
		return nil, fmt.Errorf("begin a layer: %w", err)
	}
	return &draft{dir: dir, root: root, room: maxLayer}, nil
}

// slack stays free on the data directory's file system: what the server itself
// writes matters more than packages.
const slack = 64 << 20

// reserve refuses what would not fit.
func (d *draft) reserve(bytes int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		return remuda.Internal("looking at the free space of the data directory", err)
	}
	if free := int64(st.Bavail) * st.Bsize; free < bytes+slack {
		return keepError(fmt.Errorf("%d MiB are free and %d are needed: %w", free>>20, (bytes+slack)>>20, unix.ENOSPC))
	}
	return nil
}

// unpack adds a tar. Of programs that several managers bring the first stays.
func (d *draft) unpack(r io.Reader) error {
	u := &unpacker{root: d.root, bytes: d.room, skip: func(name string) bool { return strings.HasPrefix(name, "bin/") }}
	err := u.unpack(r)
	d.room = u.bytes
	return err
}

// discard removes what is left of a draft.
func (d *draft) discard() {
	_ = d.root.Close()
	_ = os.RemoveAll(d.dir) // what stays is removed at the next start
}

// keep makes a draft a layer.
func (s *store) keep(org remuda.OrganizationID, id remuda.LayerID, lock remuda.Lock, d *draft) (engine.Layer, error) {
	at := s.place(org, id)
	if at == "" {
		return engine.Layer{}, remuda.Invalid(remuda.FieldError{Field: "organization", Message: "is none"})
	}
	if err := d.finish(); err != nil {
		return engine.Layer{}, keepError(err)
	}
	content, err := json.MarshalIndent(meta{ID: id, Digest: d.digest, Files: d.files, Bytes: d.bytes, Lock: lock, MadeAt: time.Now().UTC()}, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(d.dir, metaName), content, 0o600)
	}
	if err == nil {
		err = syncTree(d.dir)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(at), 0o700)
	}
	if err == nil {
		err = os.Rename(d.dir, at)
	}
	if err == nil {
		err = syncDir(filepath.Dir(at))
	}
	if err != nil {
		return engine.Layer{}, keepError(err)
	}
	return engine.Layer{ID: id, Path: filepath.Join(at, treeName)}, nil
}

// full reports whether an error says that the disk is full.
func full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

func keepError(err error) error {
	if full(err) {
		return &remuda.Error{Code: remuda.CodeExhausted, Message: "there is no room for the packages", Cause: "the data directory's file system is full", Remedy: "make room, or give the server a larger data directory", Err: err}
	}
	return remuda.Internal("keeping a layer", err)
}

// finish gives every file the same time and computes the digest of the content:
// of names, kinds, modes, contents and targets. Compiled Python is left out: it
// follows from the rest, and its bytes may differ from run to run.
func (d *draft) finish() error {
	sum := sha256.New()
	var dirs []string
	err := fs.WalkDir(d.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		kind := entry.Type()
		switch {
		case entry.IsDir():
			dirs = append(dirs, name)
			if entry.Name() == "__pycache__" {
				return nil
			}
			fmt.Fprintf(sum, "d %q\n", name)
			return nil
		case kind&fs.ModeSymlink != 0:
			target, err := d.root.Readlink(name)
			d.files++
			fmt.Fprintf(sum, "l %q %q\n", name, target)
			return err
		}
		d.files++
		st, err := entry.Info()
		if err != nil {
			return err
		}
		d.bytes += st.Size()
		if err := d.root.Chtimes(name, modified, modified); err != nil {
			return err
		}
		if strings.Contains("/"+name, "/__pycache__/") {
			return nil
		}
		fmt.Fprintf(sum, "f %q %o %d\n", name, st.Mode().Perm(), st.Size())
		f, err := d.root.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		_, err = io.Copy(sum, f)
		return err
	})
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) {
		if err := errors.Join(d.root.Chmod(dir, 0o755), d.root.Chtimes(dir, modified, modified)); err != nil {
			return err
		}
	}
	d.digest = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	return nil
}

// syncTree sees that all of a directory is on the disk.
func syncTree(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return f.Sync()
}

func randomWord() string { return strings.ToLower(rand.Text()) }
