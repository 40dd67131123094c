package guestinit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// maxTransfers bounds the reads and the writes that are under way at once.
const maxTransfers = 16

// maxEntries bounds a list whose request names no limit, or a larger one.
const maxEntries = 10_000

// fileServer serves the workspace. Every path is resolved by a directory, which
// follows no link out of it, whatever a script does meanwhile.
type fileServer struct {
	root      directory
	downloads []*download
	uploads   map[uint32]*upload
	buffer    []byte
}

// download is a read under way.
type download struct {
	req  uint32
	file *os.File
	left int64
}

// upload is a write under way. After an error it only swallows data.
type upload struct {
	path, temp string
	file       *os.File
	mode       fs.FileMode
	left       int64
	failed     bool
}

func (s *fileServer) open() error {
	s.uploads = map[uint32]*upload{}
	if s.root != nil {
		return nil
	}
	root, err := os.OpenRoot(protocol.Workspace)
	if err != nil {
		return err
	}
	s.root = root
	return nil
}

// fileError is an error with the code that the server shows.
type fileError struct {
	code string
	text string
}

func (e *fileError) Error() string { return e.text }

func refuse(code string, format string, args ...any) error {
	return &fileError{code, fmt.Sprintf(format, args...)}
}

// fileRequest starts a file operation. False means that the server broke the
// protocol.
func (k *keeper) fileRequest(r protocol.FileRequest) bool {
	s := &k.files
	if s.root == nil || s.uploads[r.Req] != nil {
		return false
	}
	name, err := cleanPath(r.Path, r.Op == "list")
	var entries []protocol.FileEntry
	if err == nil {
		switch r.Op {
		case "read":
			entries, err = s.startRead(r, name)
		case "write":
			if err = s.startWrite(r, name, k.setup); err == nil {
				return true // answered when the data is in
			}
		case "list":
			entries, err = s.list(name, r.Limit)
		case "remove":
			err = s.remove(name)
		default:
			return false
		}
	}
	if err != nil && r.Op == "write" {
		s.uploads[r.Req] = &upload{failed: true}
	}
	k.send(protocol.TypeFileReply, reply(r.Req, entries, err, name))
	return true
}

// cleanPath checks a path of a request: relative, inside, printable.
func cleanPath(p string, root bool) (string, error) {
	if p == "" && root {
		p = "."
	}
	switch {
	case p == "":
		return "", refuse(codeInvalid, "the path is empty: name a file of the workspace")
	case len(p) >= 4096:
		return "", refuse(codeInvalid, "the path is %d bytes long: at most 4095 are possible", len(p))
	case !utf8.ValidString(p) || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", refuse(codeInvalid, "the path %q has a control character or is not UTF-8: rename the file", p)
	case p[0] == '/':
		return "", refuse(codeInvalid, "the path %q is absolute: give it relative to the workspace", p)
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			return "", refuse(codeInvalid, "the path %q leaves the workspace by \"..\": give it without", p)
		}
		if len(part) > 255 {
			return "", refuse(codeInvalid, "a part of the path is %d bytes long: at most 255 are possible", len(part))
		}
	}
	p = path.Clean(p)
	if p == "." && !root {
		return "", refuse(codeInvalid, "the path names the workspace itself: name a file in it")
	}
	return p, nil
}

func (s *fileServer) startRead(r protocol.FileRequest, name string) ([]protocol.FileEntry, error) {
	if len(s.downloads) >= maxTransfers {
		return nil, refuse(codeExhausted, "%d files are being read already: try again when one is done", maxTransfers)
	}
	f, err := s.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil {
		err = regular(st, name)
	}
	if err == nil && st.Size() > r.Limit {
		err = refuse(codeTooLarge, "%s has %d bytes: at most %d can be read", name, st.Size(), r.Limit)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	s.downloads = append(s.downloads, &download{r.Req, f, st.Size()})
	return []protocol.FileEntry{entry(name, st)}, nil
}

// regular refuses what is no regular file.
func regular(st fs.FileInfo, name string) error {
	switch m := st.Mode(); {
	case m.IsRegular():
		return nil
	case m.IsDir():
		return refuse(codeInvalid, "%s is a directory, not a file", name)
	default:
		return refuse(codeInvalid, "%s is not a regular file (%s)", name, m.Type())
	}
}

// pump queues data of the reads under way while the connection has room.
func (s *fileServer) pump(k *keeper) {
	for len(s.downloads) > 0 && k.conn.room() {
		d := s.downloads[0]
		s.downloads = append(s.downloads[1:], d) // take turns
		if s.buffer == nil {
			s.buffer = make([]byte, protocol.FileChunk)
		}
		n, err := d.file.Read(s.buffer[:min(d.left, int64(len(s.buffer)))])
		d.left -= int64(n)
		k.sendData(d.req, s.buffer[:n])
		if err == nil && n > 0 && d.left > 0 {
			continue
		}
		if n > 0 {
			k.sendData(d.req, nil)
		}
		_ = d.file.Close()
		s.downloads = s.downloads[:len(s.downloads)-1]
	}
	if len(s.downloads) == 0 {
		s.downloads, s.buffer = nil, nil
	}
}

func (k *keeper) sendData(req uint32, data []byte) {
	k.conn.out = protocol.Append(k.conn.out, protocol.TypeFileData, protocol.AppendFileData(make([]byte, 0, 4+len(data)), req, data))
}

func (s *fileServer) startWrite(r protocol.FileRequest, name string, owner *setupState) error {
	if len(s.uploads) >= maxTransfers {
		return refuse(codeExhausted, "%d files are being written already: try again when one is done", maxTransfers)
	}
	u := &upload{path: name, mode: 0o644, left: r.Limit}
	if st, err := s.root.Lstat(name); err == nil && st.Mode()&fs.ModeSymlink == 0 {
		if err := regular(st, name); err != nil {
			return err
		}
		u.mode = st.Mode().Perm()
	}
	dir := path.Dir(name)
	if err := s.makeDirs(dir, owner); err != nil {
		return err
	}
	u.temp = path.Join(dir, fmt.Sprintf(".remuda-upload-%d", r.Req))
	f, err := s.root.OpenFile(u.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, u.mode)
	if err != nil {
		return err
	}
	u.file = f
	s.uploads[r.Req] = u
	if err := errors.Join(f.Chmod(u.mode), f.Chown(owner.uid, owner.gid)); err != nil {
		s.abort(u)
		return err
	}
	return nil
}

// makeDirs makes the missing directories of a path; they belong to the
// interpreter's user.
func (s *fileServer) makeDirs(dir string, owner *setupState) error {
	for i := range len(dir) + 1 {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		part := dir[:i]
		err := s.root.Mkdir(part, 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := s.root.Lchown(part, owner.uid, owner.gid); err != nil {
			return err
		}
	}
	return nil
}

// fileData takes a piece of an upload; an empty one ends it.
func (k *keeper) fileData(req uint32, data []byte) bool {
	s := &k.files
	u := s.uploads[req]
	if u == nil {
		return false
	}
	if len(data) == 0 {
		delete(s.uploads, req)
	}
	if u.failed {
		return true
	}
	var entries []protocol.FileEntry
	var err error
	if len(data) == 0 {
		entries, err = s.finishWrite(u)
	} else if u.left -= int64(len(data)); u.left < 0 {
		err = refuse(codeTooLarge, "%s is larger than the limit for one file", u.path)
	} else {
		_, err = u.file.Write(data)
	}
	if err == nil && len(data) > 0 {
		return true
	}
	if err != nil {
		s.abort(u)
	}
	k.send(protocol.TypeFileReply, reply(req, entries, err, u.path))
	return true
}

// finishWrite puts a complete upload in its place.
func (s *fileServer) finishWrite(u *upload) ([]protocol.FileEntry, error) {
	st, err := u.file.Stat()
	if err != nil {
		return nil, err
	}
	if err := s.root.Rename(u.temp, u.path); err != nil {
		return nil, err
	}
	return []protocol.FileEntry{entry(u.path, st)}, u.file.Close()
}

// abort removes what a failed upload has written.
func (s *fileServer) abort(u *upload) {
	u.failed = true
	if u.file != nil {
		_ = u.file.Close()
		_ = s.root.Remove(u.temp)
	}
}

// drop ends every transfer: the server is gone.
func (s *fileServer) drop() {
	for _, d := range s.downloads {
		_ = d.file.Close()
	}
	s.downloads, s.buffer = nil, nil
	for req, u := range s.uploads {
		if !u.failed {
			s.abort(u)
		}
		delete(s.uploads, req)
	}
}

func (s *fileServer) list(name string, limit int64) ([]protocol.FileEntry, error) {
	if limit <= 0 || limit > maxEntries {
		limit = maxEntries
	}
	d, err := s.root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	infos, err := d.Readdir(int(limit))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	entries := make([]protocol.FileEntry, 0, len(infos))
	for _, st := range infos {
		entries = append(entries, entry(path.Join(name, st.Name()), st))
	}
	return entries, nil
}

func (s *fileServer) remove(name string) error {
	return s.root.Remove(name)
}

func entry(name string, st fs.FileInfo) protocol.FileEntry {
	return protocol.FileEntry{Path: name, Size: st.Size(), Mode: uint32(st.Mode()), MtimeUS: st.ModTime().UnixMicro()}
}

// reply makes the answer, with the code that an error deserves.
func reply(req uint32, entries []protocol.FileEntry, err error, name string) *protocol.FileReply {
	if err == nil {
		return &protocol.FileReply{Req: req, Entries: entries}
	}
	code, text := codeInternal, err.Error()
	var own *fileError
	switch {
	case errors.As(err, &own):
		code = own.code
	case errors.Is(err, fs.ErrNotExist):
		code, text = codeNotFound, "no file "+name+" in the workspace"
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		code, text = codeTooLarge, "the disk of the sandbox is full: remove files, or give the runtime more disk_mb"
	case errors.Is(err, unix.EFBIG), errors.Is(err, unix.ENAMETOOLONG):
		code = codeTooLarge
	case errors.Is(err, unix.ENOTEMPTY):
		code, text = codeInvalid, name+" is a directory that is not empty: remove what is in it first"
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EISDIR), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ELOOP),
		errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrPermission), escapes(err):
		code, text = codeInvalid, name+" cannot be used: "+err.Error()
	}
	return &protocol.FileReply{Req: req, Code: code, Error: text}
}

// escapes reports whether os.Root refused a path because a link in it leads out
// of the workspace; the error has no name.
func escapes(err error) bool {
	var p *fs.PathError
	var l *os.LinkError // of a rename whose directory was swapped for a link
	return errors.As(err, &p) && strings.Contains(p.Err.Error(), "escapes") ||
		errors.As(err, &l) && strings.Contains(l.Err.Error(), "escapes")
}
