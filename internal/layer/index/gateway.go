package index

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Options say where the indexes are. A nil URL means that there is none.
type Options struct {
	Pip *url.URL // simple API (PEP 503 or 691)
	Npm *url.URL
	Apt []*url.URL // archives
	// Allow is Settings.Allow of package layer.
	Allow []string
	// WheelDir is a directory of wheels and sdists beside the index.
	WheelDir string
	// Internal lists more hosts ("host" or "host:port") of the server's own network
	// that an index may lead to.
	Internal []string
}

// Limits of what a session passes on.
const (
	maxPage    = 32 << 20 // of an index page or packument
	maxPages   = 4        // at the same time: they are held in memory
	maxFetches = 16       // files at the same time
	maxFiles   = 300_000  // that the pages of a session have named
	maxFile    = 4 << 30
	maxSession = 16 << 30
	maxLinks   = 100_000 // files on a page
)

// Gateway leads to the indexes of a site.
type Gateway struct {
	opts   Options
	allow  allowList
	client *http.Client
}

// New prepares a gateway. It connects to nothing.
func New(opts Options) (*Gateway, error) {
	allow, err := newAllowList(opts.Allow)
	if err != nil {
		return nil, err
	}
	for _, u := range append([]*url.URL{opts.Pip, opts.Npm}, opts.Apt...) {
		if u != nil && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			return nil, remuda.Invalid(remuda.FieldError{Field: "packages", Message: fmt.Sprintf("%s is no address of an index: it has to begin with http:// or https://", u.Redacted())})
		}
	}
	return &Gateway{opts: opts, allow: allow, client: newClient(opts)}, nil
}

// Served is a file that a session has passed on.
type Served struct {
	Manager       remuda.PackageManager
	Name, Version string
	Hash          string // as in remuda.Locked: what was really sent
	// Wrong says that it is not what the index or the lock promised.
	Wrong bool
}

// Session is what one build sees of the gateway. It is an http.Handler.
type Session struct {
	gateway *Gateway
	lock    *lockView // nil shows everything that is allowed
	note    func(string)
	// Rooms of its own: what is slow or greedy holds up nobody else.
	pages, fetches chan struct{}

	mu     sync.Mutex
	files  map[string]file // by path
	served []Served
	denied []string // packages that were asked for and are not allowed
	failed []string // what the index could not give, though it may have it
	total  int64
}

// file is something that a page has named.
type file struct {
	manager       remuda.PackageManager
	name, version string
	from          *url.URL // or
	path          string   // in the wheel directory
	hash          string   // as the index promises it; "" if it does not
}

// Session makes one. With a lock, packages of other names, versions and hashes do
// not exist. note hears, in plain words, why something was refused.
func (g *Gateway) Session(lock []remuda.Locked, note func(string)) *Session {
	s := &Session{gateway: g, note: note, files: map[string]file{}, pages: make(chan struct{}, maxPages), fetches: make(chan struct{}, maxFetches)}
	if lock != nil {
		s.lock = newLockView(lock)
	}
	return s
}

// Served lists the files that were passed on so far.
func (s *Session) Served() []Served {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Served(nil), s.served...)
}

// Denied lists the packages that were asked for although the site does not allow
// them.
func (s *Session) Denied() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.denied...)
}

// Failed lists what was asked for and could not be fetched.
func (s *Session) Failed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.failed...)
}

// Paths of the gateway.
const (
	PipPath = "/pip/simple/"
	NpmPath = "/npm/"
	AptPath = "/apt/" // followed by the number of the archive and a slash

	pipFiles = "/pip/file/"
	npmFiles = "/npm/-/file/"
)

// ServeHTTP implements http.Handler.
func (s *Session) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "the package index is read-only", http.StatusMethodNotAllowed)
		return
	}
	p := r.URL.EscapedPath()
	switch {
	case strings.HasPrefix(p, PipPath):
		s.onePage(w, r, strings.Trim(strings.TrimPrefix(p, PipPath), "/"), s.pipPage)
	case strings.HasPrefix(p, pipFiles), strings.HasPrefix(p, npmFiles):
		s.inTurn(r, s.fetches, func() { s.serveFile(w, r, p) })
	case strings.HasPrefix(p, AptPath):
		s.inTurn(r, s.fetches, func() { s.apt(w, r, strings.TrimPrefix(p, AptPath)) })
	case strings.HasPrefix(p, NpmPath):
		s.onePage(w, r, strings.TrimPrefix(p, NpmPath), s.npmPage)
	default:
		http.NotFound(w, r)
	}
}

// inTurn does something when there is room.
func (s *Session) inTurn(r *http.Request, room chan struct{}, do func()) {
	select {
	case room <- struct{}{}:
		defer func() { <-room }()
		do()
	case <-r.Context().Done():
	}
}

// onePage answers with a page.
func (s *Session) onePage(w http.ResponseWriter, r *http.Request, name string, answer func(http.ResponseWriter, *http.Request, string)) {
	s.mu.Lock()
	full := len(s.files) >= maxFiles
	s.mu.Unlock()
	if full {
		s.say("the build has looked at more packages than it may")
		http.Error(w, "too many packages", http.StatusForbidden)
		return
	}
	s.inTurn(r, s.pages, func() { answer(w, r, name) })
}

// permitted reports whether a package may be seen, and answers if not.
func (s *Session) permitted(w http.ResponseWriter, manager remuda.PackageManager, name string) bool {
	switch {
	case s.lock != nil && !s.lock.has(manager, name):
		http.Error(w, "the lock does not name "+name, http.StatusNotFound)
	case !s.gateway.allow.allows(manager, name):
		s.deny(name)
		http.Error(w, "package "+name+" is not allowed here", http.StatusForbidden)
	default:
		return true
	}
	return false
}

// maxNotes bounds what a session remembers of refusals.
const maxNotes = 1000

// say notes why something is not passed on.
func (s *Session) say(format string, args ...any) {
	s.note("index: " + fmt.Sprintf(format, args...) + "\n")
}

// fail answers that the index could not give something.
func (s *Session) fail(w http.ResponseWriter, what string, err error) {
	s.mu.Lock()
	if len(s.failed) < maxNotes {
		s.failed = append(s.failed, what)
	}
	s.mu.Unlock()
	s.say("%s cannot be had: %v", what, err)
	http.Error(w, "the package index cannot give "+what, http.StatusBadGateway)
}

// Allows reports whether the site allows a package, and notes it if not. It is for
// managers that are told names before they ask for files.
func (s *Session) Allows(manager remuda.PackageManager, name string) bool {
	if s.gateway.allow.allows(manager, name) {
		return true
	}
	s.deny(name)
	return false
}

// deny notes that a package was asked for that is not allowed.
func (s *Session) deny(name string) {
	s.mu.Lock()
	if len(s.denied) < maxNotes {
		s.denied = append(s.denied, name)
	}
	s.mu.Unlock()
	s.say("package %s is not on this site's list of allowed packages (setting packages_allow)", name)
}
