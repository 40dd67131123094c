package index

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// apt passes on what apt asks an archive for: the indexes below dists, which apt
// itself checks by their signature, and packages, which it checks by the indexes.
func (s *Session) apt(w http.ResponseWriter, r *http.Request, rest string) {
	number, name, _ := strings.Cut(rest, "/")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n >= len(s.gateway.opts.Apt) {
		http.NotFound(w, r)
		return
	}
	plain, err := url.PathUnescape(name)
	if err != nil || plain != strings.TrimPrefix(path.Clean("/"+plain), "/") || strings.ContainsAny(plain, "\\\x00?#") {
		http.NotFound(w, r)
		return
	}
	// JoinPath would decode a second time what is decoded by now.
	at := s.gateway.opts.Apt[n].JoinPath(escaped(plain))
	if strings.HasPrefix(plain, "dists/") && !strings.HasSuffix(plain, ".deb") {
		s.aptIndex(w, r, at)
		return
	}
	pkg, version, ok := ParseDeb(path.Base(plain))
	if !ok {
		http.NotFound(w, r)
		return
	}
	if !s.permitted(w, "apt", pkg) {
		return
	}
	f := file{manager: "apt", name: pkg, version: version, from: at}
	if s.lock != nil && !s.lock.shows(f) {
		http.Error(w, "the lock does not name this version", http.StatusNotFound)
		return
	}
	body, size, err := s.open(r, f)
	if err != nil {
		s.fail(w, pkg+" "+version, err)
		return
	}
	defer func() { _ = body.Close() }()
	s.pass(w, r, f, body, size)
}

// escaped writes a path so that it is decoded to what it is.
func escaped(plain string) string {
	segments := strings.Split(plain, "/")
	for n, segment := range segments {
		segments[n] = url.PathEscape(segment)
	}
	return strings.Join(segments, "/")
}

// aptIndex passes on a file of dists. That one is absent is usual: apt tries
// several.
func (s *Session) aptIndex(w http.ResponseWriter, r *http.Request, at *url.URL) {
	resp, err := s.gateway.get(r.Context(), at, "")
	if err != nil {
		s.fail(w, path.Base(at.Path), err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		http.Error(w, fmt.Sprintf("the archive answers %s", resp.Status), http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	for _, name := range []string{"Last-Modified", "Content-Length"} {
		if v := resp.Header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	if n, err := io.Copy(w, io.LimitReader(resp.Body, maxAptIndex+1)); err != nil || n > maxAptIndex {
		panic(http.ErrAbortHandler)
	}
}

// maxAptIndex bounds one index of an archive.
const maxAptIndex = 512 << 20

// ParseDeb takes the name of a package's file apart: NAME_VERSION_ARCHITECTURE.deb.
func ParseDeb(name string) (pkg, version string, ok bool) {
	stem, ok := strings.CutSuffix(name, ".deb")
	parts := strings.Split(stem, "_")
	if !ok || len(parts) != 3 || !debName(parts[0]) || parts[2] == "" {
		return "", "", false
	}
	version, err := url.PathUnescape(parts[1])
	return parts[0], version, err == nil && version != ""
}

// debName reports whether a word can be the name of a Debian package.
func debName(s string) bool {
	return len(s) > 1 && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '+' && r != '-' && r != '.'
	}) && s[0] != '+' && s[0] != '-' && s[0] != '.'
}
