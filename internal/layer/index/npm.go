package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// acceptPackument asks for the short form, which has all that is needed.
const acceptPackument = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8"

// npmName is what a package may be called. Old ones have capitals.
var npmName = regexp.MustCompile(`^(@[a-z0-9~][a-z0-9._~-]*/)?[A-Za-z0-9_~][A-Za-z0-9._~-]*$`)

// npmPage shows a packument.
func (s *Session) npmPage(w http.ResponseWriter, r *http.Request, raw string) {
	name, err := url.PathUnescape(raw)
	if err != nil || len(name) > 214 || !npmName.MatchString(name) {
		http.NotFound(w, r)
		return
	}
	if !s.permitted(w, "npm", name) {
		return
	}
	if s.gateway.opts.Npm == nil {
		s.say("there is no npm registry (setting packages_npm_registry_url)")
		http.NotFound(w, r)
		return
	}
	at := *s.gateway.opts.Npm
	at.RawPath = strings.TrimSuffix(at.EscapedPath(), "/") + "/" + strings.Replace(name, "/", "%2f", 1)
	at.Path = strings.TrimSuffix(at.Path, "/") + "/" + name
	body, _, err := s.gateway.page(r.Context(), &at, acceptPackument)
	switch {
	case errors.Is(err, errAbsent):
		s.say("the registry has no package %s", name)
		http.NotFound(w, r)
		return
	case err != nil:
		s.fail(w, name, err)
		return
	}
	page, files, err := s.packument(body, name, &at, "http://"+r.Host)
	if err != nil {
		s.fail(w, name, err)
		return
	}
	for path, f := range files {
		s.add(path, f)
	}
	w.Header().Set("Content-Type", "application/vnd.npm.install-v1+json")
	_, _ = w.Write(page) // a client that has gone needs nothing
}

// packument rewrites one: it keeps the versions that may be seen, and their
// tarballs lead through the gateway.
func (s *Session) packument(body []byte, name string, at *url.URL, self string) ([]byte, map[string]file, error) {
	var doc struct {
		Name     string                                `json:"name"`
		Modified json.RawMessage                       `json:"modified,omitempty"`
		Tags     map[string]string                     `json:"dist-tags"`
		Versions map[string]map[string]json.RawMessage `json:"versions"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, nil, fmt.Errorf("the registry sends what is no packument: %w", err)
	}
	if doc.Name != name {
		return nil, nil, fmt.Errorf("the registry sends the packument of %.100q", doc.Name)
	}
	if len(doc.Versions) > maxLinks {
		return nil, nil, errors.New("the registry sends a packument of more than 100000 versions")
	}
	files := map[string]file{}
	for version, manifest := range doc.Versions {
		f, dist, err := npmFile(manifest, name, version, at)
		if err != nil || s.lock != nil && !s.lock.shows(f) {
			delete(doc.Versions, version)
			continue
		}
		path := npmFiles + url.PathEscape(name) + "/" + url.PathEscape(version) + ".tgz"
		files[path] = f
		dist["tarball"], _ = json.Marshal(self + path)
		manifest["dist"], _ = json.Marshal(dist)
	}
	if len(doc.Versions) == 0 {
		return nil, nil, errors.New("it has no version that may be installed here: each needs a sha512 hash and, with a lock, to be in it")
	}
	for tag, version := range doc.Tags {
		if doc.Versions[version] == nil {
			delete(doc.Tags, tag)
		}
	}
	if doc.Tags["latest"] == "" { // npm insists on one
		if doc.Tags == nil {
			doc.Tags = map[string]string{}
		}
		for version := range doc.Versions {
			doc.Tags["latest"] = max(doc.Tags["latest"], version)
		}
	}
	page, err := json.Marshal(doc)
	return page, files, err
}

// npmFile is the tarball of a version.
func npmFile(manifest map[string]json.RawMessage, name, version string, at *url.URL) (file, map[string]json.RawMessage, error) {
	var dist map[string]json.RawMessage
	if err := json.Unmarshal(manifest["dist"], &dist); err != nil || dist == nil {
		return file{}, nil, errors.New("no dist")
	}
	var tarball, integrity string
	if json.Unmarshal(dist["tarball"], &tarball) != nil || json.Unmarshal(dist["integrity"], &integrity) != nil {
		return file{}, nil, errors.New("no tarball or integrity")
	}
	hash := Sha512(integrity)
	if hash == "" {
		return file{}, nil, errors.New("no sha512")
	}
	from, err := resolve(at, tarball)
	if err != nil {
		return file{}, nil, err
	}
	return file{manager: "npm", name: name, version: version, from: from, hash: hash}, dist, nil
}

var sha512Word = regexp.MustCompile(`^sha512-[A-Za-z0-9+/]{86}==$`)

// Sha512 is the sha512 of an integrity string, or "".
func Sha512(integrity string) string {
	for word := range strings.FieldsSeq(integrity) {
		if word, _, _ = strings.Cut(word, "?"); sha512Word.MatchString(word) {
			return word
		}
	}
	return ""
}
