package index

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/remuda-run/remuda/internal/remuda"
)

// add notes a file that a page has named.
func (s *Session) add(path string, f file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = f
}

// serveFile passes on a file that a page has named.
func (s *Session) serveFile(w http.ResponseWriter, r *http.Request, path string) {
	s.mu.Lock()
	f, ok := s.files[path]
	s.mu.Unlock()
	if !ok {
		http.Error(w, "no index page has named this file", http.StatusNotFound)
		return
	}
	body, size, err := s.open(r, f)
	if err != nil {
		s.fail(w, f.name+" "+f.version, err)
		return
	}
	defer func() { _ = body.Close() }()
	s.pass(w, r, f, body, size)
}

// open begins to read a file. size is -1 when it is not known.
func (s *Session) open(r *http.Request, f file) (io.ReadCloser, int64, error) {
	if f.path != "" {
		return openWheel(f.path)
	}
	resp, err := s.gateway.get(r.Context(), f.from, "")
	if err != nil {
		return nil, 0, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, 0, fmt.Errorf("%s answers %s", f.from.Hostname(), resp.Status)
	}
	return resp.Body, resp.ContentLength, nil
}

// openWheel opens a file of the wheel directory.
func openWheel(path string) (io.ReadCloser, int64, error) {
	root, err := os.OpenRoot(filepath.Dir(path)) // a link in it may not lead out
	if err != nil {
		return nil, 0, fmt.Errorf("open the wheel directory: %w", err)
	}
	defer func() { _ = root.Close() }()
	f, err := root.Open(filepath.Base(path))
	if err != nil {
		return nil, 0, fmt.Errorf("open a file of the wheel directory: %w", err)
	}
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		_ = f.Close()
		return nil, 0, fmt.Errorf("%s is no file", filepath.Base(path))
	}
	return f, st.Size(), nil
}

// pass copies a file and notes what it was. A connection that is cut is how a
// client learns that it has not all of it.
func (s *Session) pass(w http.ResponseWriter, r *http.Request, f file, body io.Reader, size int64) {
	if size > maxFile {
		s.fail(w, f.name+" "+f.version, fmt.Errorf("it is larger than %d MiB", int64(maxFile)>>20))
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if size >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	}
	if r.Method == http.MethodHead {
		return
	}
	sum, name := hashOf(f.manager)
	n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(body, maxFile+1))
	s.mu.Lock()
	s.total += n
	total := s.total
	s.mu.Unlock()
	switch {
	case err == nil && n > maxFile:
		err = fmt.Errorf("it is larger than %d MiB", int64(maxFile)>>20)
	case err == nil && total > maxSession:
		err = fmt.Errorf("the build has fetched more than %d MiB", int64(maxSession)>>20)
	case err == nil && size >= 0 && n != size:
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		if r.Context().Err() == nil {
			s.say("%s %s was not passed on to its end: %v", f.name, f.version, err)
		}
		panic(http.ErrAbortHandler)
	}
	s.remember(f, name(sum))
}

// remember notes a file that was passed on.
func (s *Session) remember(f file, got string) {
	one := Served{Manager: f.manager, Name: f.name, Version: f.version, Hash: got}
	one.Wrong = f.hash != "" && f.hash != got || s.lock != nil && !s.lock.holds(f.manager, f.name, got)
	if one.Wrong {
		s.say("the file of %s %s has the hash %s, which is not the one that was promised (%s)", f.name, f.version, got, f.hash)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.served) < maxLinks {
		s.served = append(s.served, one)
	}
}

// hashOf is the hash that a manager names files by, and its form in a lock.
func hashOf(manager remuda.PackageManager) (hash.Hash, func(hash.Hash) string) {
	if manager == remuda.ManagerNpm {
		return sha512.New(), func(h hash.Hash) string { return "sha512-" + base64.StdEncoding.EncodeToString(h.Sum(nil)) }
	}
	return sha256.New(), func(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }
}

// resolve makes an address that a page gave absolute.
func resolve(page *url.URL, ref string) (*url.URL, error) {
	u, err := page.Parse(ref)
	if err != nil {
		return nil, fmt.Errorf("an index page has a link that is none: %w", err)
	}
	if err := fetchable(u); err != nil {
		return nil, err
	}
	if u.User == nil && u.Host == page.Host && u.Scheme == page.Scheme {
		u.User = page.User // a private index wants its password for files too
	}
	u.Fragment = ""
	return u, nil
}
