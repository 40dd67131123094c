package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

//go:embed assets
var assets embed.FS

// Prefix is where everything but the SRS door's consoles is.
const Prefix = "/console/"

var (
	terminalPath = regexp.MustCompile(`^/console/terminals/trm_[0-9A-Za-z]{1,64}$`)
	consolePath  = regexp.MustCompile(`^/wc[0-9a-f]{12}$`)
)

// Serves reports whether a path is this package's. consoles says whether the pages
// of the SRS door's web consoles are served.
func Serves(path string, consoles bool) bool {
	return strings.HasPrefix(path, Prefix) || consoles && consolePath.MatchString(path)
}

// policy allows the page its own scripts and styles and its own server, nothing
// else, and nobody may frame it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

// kinds are the files that are served, by extension.
var kinds = map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}

// asset is one file.
type asset struct {
	content    []byte
	kind, etag string
}

// Handler serves the pages, inside httpapi.Wrap.
func Handler(o httpapi.Options) (http.Handler, error) {
	page, err := load("assets/terminal.html", "text/html; charset=utf-8")
	if err != nil {
		return nil, err
	}
	files := map[string]asset{}
	for _, dir := range []string{"assets", "assets/xterm"} {
		entries, err := assets.ReadDir(dir)
		if err != nil {
			return nil, remuda.Internal("reading the console's files", err)
		}
		for _, entry := range entries {
			if kind := kinds[path.Ext(entry.Name())]; kind != "" {
				if files[entry.Name()], err = load(dir+"/"+entry.Name(), kind); err != nil {
					return nil, err
				}
			}
		}
	}
	return httpapi.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := files[strings.TrimPrefix(r.URL.Path, Prefix+"assets/")]
		if ok = ok && strings.HasPrefix(r.URL.Path, Prefix+"assets/"); !ok && (terminalPath.MatchString(r.URL.Path) || consolePath.MatchString(r.URL.Path)) {
			a, ok = page, true
		}
		switch {
		case !ok:
			httpapi.WriteError(w, r, remuda.NotFound("page", r.URL.Path))
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			httpapi.WriteError(w, r, &remuda.Error{Code: httpapi.CodeMethodNotAllowed, Message: "a page can only be read", Remedy: "use GET"})
		default:
			a.write(w, r)
		}
	}), o)
}

func load(name, kind string) (asset, error) {
	content, err := assets.ReadFile(name)
	if err != nil {
		return asset{}, remuda.Internal("reading the console's files", err)
	}
	sum := sha256.Sum256(content)
	return asset{content: content, kind: kind, etag: `"` + hex.EncodeToString(sum[:8]) + `"`}, nil
}

func (a asset) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-cache") // asked for again each time, sent again only when it has changed
	h.Set("Content-Type", a.kind)
	h.Set("ETag", a.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.content))
}
