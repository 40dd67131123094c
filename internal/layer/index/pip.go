package index

import (
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// acceptSimple asks for the simple API in the order of our liking.
const acceptSimple = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"

// pipName is what a project may be called.
var pipName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,126}[a-z0-9])?$`)

// pipPage shows a project's page: what the wheel directory or else the index has of
// it and may be seen. It is always the HTML of PEP 503, which every pip reads.
func (s *Session) pipPage(w http.ResponseWriter, r *http.Request, raw string) {
	name := Canonical("pip", raw)
	if !pipName.MatchString(name) {
		http.NotFound(w, r)
		return
	}
	if !s.permitted(w, "pip", name) {
		return
	}
	// A name that the site's own directory has is never looked for in the index,
	// where anybody might have it in a higher version.
	entries, err := wheelsOf(s.gateway.opts.WheelDir, name)
	if err == nil && len(entries) == 0 {
		entries, err = s.gateway.pipEntries(r, name)
	}
	if err != nil && !errors.Is(err, errAbsent) {
		s.fail(w, name, err)
		return
	}
	if len(entries) == 0 {
		s.say("no index has a package %s", name)
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(s.pipHTML(name, entries))) // a client that has gone needs nothing
}

// pipEntries asks the site's index.
func (g *Gateway) pipEntries(r *http.Request, name string) ([]entry, error) {
	if g.opts.Pip == nil {
		return nil, errAbsent
	}
	at := g.opts.Pip.JoinPath(name, "/")
	body, resp, err := g.page(r.Context(), at, acceptSimple)
	if err != nil {
		return nil, err
	}
	base := *resp.Request.URL // after redirects
	if base.Host == at.Host && base.Scheme == at.Scheme {
		base.User = at.User
	}
	return parseSimple(body, resp.Header.Get("Content-Type"), &base)
}

// pipHTML writes the page and notes its files.
func (s *Session) pipHTML(name string, entries []entry) string {
	var b strings.Builder
	b.WriteString("<!DOCTYPE html><html><head><meta name=\"pypi:repository-version\" content=\"1.0\"><title>")
	b.WriteString(name)
	b.WriteString("</title></head><body>\n")
	for _, e := range entries {
		project, version, ok := ParseFilename(e.filename)
		if !ok || project != name {
			continue
		}
		f := file{manager: "pip", name: name, version: version, from: e.from, path: e.path, hash: e.hash}
		if s.lock != nil && !s.lock.shows(f) {
			continue
		}
		path := pipFiles + name + "/" + url.PathEscape(e.filename)
		s.add(path, f)
		if e.hash != "" {
			path += "#" + strings.Replace(e.hash, ":", "=", 1)
		}
		fmt.Fprintf(&b, "<a href=\"%s\"", html.EscapeString(path))
		if e.requiresPython != "" {
			fmt.Fprintf(&b, " data-requires-python=\"%s\"", html.EscapeString(e.requiresPython))
		}
		if e.yanked {
			fmt.Fprintf(&b, " data-yanked=\"%s\"", html.EscapeString(e.yankedWhy))
		}
		fmt.Fprintf(&b, ">%s</a><br>\n", html.EscapeString(e.filename))
	}
	b.WriteString("</body></html>\n")
	return b.String()
}
