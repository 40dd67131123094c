package index

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"path"
	"regexp"
	"strings"

	"golang.org/x/net/html"
)

// entry is one file of a project's page.
type entry struct {
	filename       string
	from           *url.URL
	path           string // in the wheel directory, instead of from
	hash           string // "sha256:<hex>", or ""
	requiresPython string
	yanked         bool
	yankedWhy      string
}

// maxFilename bounds names of files.
const maxFilename = 255

// parseSimple reads a page of the simple API in either form. base is its address.
func parseSimple(body []byte, contentType string, base *url.URL) ([]entry, error) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		kind = "text/html"
	}
	switch kind {
	case "application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.latest+json", "application/json":
		return parseJSON(body, base)
	case "application/vnd.pypi.simple.v1+html", "application/vnd.pypi.simple.latest+html", "text/html", "application/xhtml+xml":
		return parseHTML(body, base)
	}
	return nil, fmt.Errorf("the index sends a page of type %q, which is no page of the simple API", kind)
}

// simpleJSON is a page by PEP 691.
type simpleJSON struct {
	Meta struct {
		Version string `json:"api-version"`
	} `json:"meta"`
	Files []struct {
		Filename       string            `json:"filename"`
		URL            string            `json:"url"`
		Hashes         map[string]string `json:"hashes"`
		RequiresPython *string           `json:"requires-python"`
		Yanked         json.RawMessage   `json:"yanked"` // a bool, or why
	} `json:"files"`
}

func parseJSON(body []byte, base *url.URL) ([]entry, error) {
	var page simpleJSON
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, fmt.Errorf("the index sends a page that is no JSON of the simple API: %w", err)
	}
	if v := page.Meta.Version; v != "" && !strings.HasPrefix(v, "1.") {
		return nil, fmt.Errorf("the index speaks version %.20q of the simple API; version 1 is known here", v)
	}
	if len(page.Files) > maxLinks {
		return nil, errTooMany
	}
	var entries []entry
	for _, f := range page.Files {
		from, err := resolve(base, f.URL)
		if err != nil || !plainName(f.Filename) {
			continue // one bad file does not hide the others
		}
		e := entry{filename: f.Filename, from: from, hash: sha256Hash(f.Hashes["sha256"])}
		if f.RequiresPython != nil {
			e.requiresPython = *f.RequiresPython
		}
		var why string
		switch {
		case json.Unmarshal(f.Yanked, &why) == nil && len(f.Yanked) > 0 && f.Yanked[0] == '"':
			e.yanked, e.yankedWhy = true, why
		case string(f.Yanked) == "true":
			e.yanked = true
		}
		entries = append(entries, e)
	}
	return entries, nil
}

var errTooMany = errors.New("the index sends a page of more than 100000 files")

// parseHTML reads a page by PEP 503.
func parseHTML(body []byte, base *url.URL) ([]entry, error) {
	var entries []entry
	z := html.NewTokenizer(bytes.NewReader(body))
	z.SetMaxBuf(1 << 20)
	seen := false
	for {
		switch z.Next() {
		case html.ErrorToken:
			return entries, nil // the end, or as far as it is HTML
		case html.StartTagToken, html.SelfClosingTagToken:
			token := z.Token()
			switch token.Data {
			case "base":
				if u, err := resolve(base, attribute(token, "href")); err == nil && !seen {
					base, seen = u, true
				}
			case "a":
				if e, ok := anchor(token, base); ok {
					entries = append(entries, e)
				}
				if len(entries) > maxLinks {
					return nil, errTooMany
				}
			}
		default:
		}
	}
}

// anchor is the file of one link.
func anchor(token html.Token, base *url.URL) (entry, bool) {
	href := attribute(token, "href")
	from, err := resolve(base, href)
	if err != nil {
		return entry{}, false
	}
	e := entry{filename: path.Base(from.Path), from: from, requiresPython: attribute(token, "data-requires-python")}
	if !plainName(e.filename) {
		return entry{}, false
	}
	if _, fragment, ok := strings.Cut(href, "#"); ok {
		if values, err := url.ParseQuery(fragment); err == nil {
			e.hash = sha256Hash(values.Get("sha256"))
		}
	}
	for _, a := range token.Attr {
		if a.Key == "data-yanked" {
			e.yanked, e.yankedWhy = true, a.Val
		}
	}
	return e, true
}

func attribute(token html.Token, name string) string {
	for _, a := range token.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// plainName reports whether a word can be the name of a file.
func plainName(name string) bool {
	return name != "" && len(name) <= maxFilename && name[0] != '.' && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r == '\\' || r == 0x7f })
}

var hex64 = regexp.MustCompile(`^[0-9a-f]{64}$`)

// sha256Hash is a hash in the form of a lock, or "".
func sha256Hash(hexadecimal string) string {
	if h := strings.ToLower(hexadecimal); hex64.MatchString(h) {
		return "sha256:" + h
	}
	return ""
}
