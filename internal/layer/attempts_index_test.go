package layer_test

import (
	"net"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/layer"
	"github.com/remuda-run/remuda/internal/layer/indextest"
	"github.com/remuda-run/remuda/internal/remuda"
)

// TestLyingIndex has links that lead into the server's own network, and a file that
// changes after it was locked.
func TestLyingIndex(t *testing.T) {
	t.Parallel()
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = inside.Close() }()
	reached := make(chan struct{}, 10)
	go func() {
		for {
			c, err := inside.Accept()
			if err != nil {
				return
			}
			reached <- struct{}{}
			_ = c.Close()
		}
	}()
	t.Run("leads inside", func(t *testing.T) {
		x := indextest.NewPython(t)
		x.Wheel(t, indextest.Project{Name: "bad", Version: "1.0", Files: map[string]string{"bad.py": ""}}).URL = "http://" + inside.Addr().String() + "/bad-1.0-py3-none-any.whl"
		h := newHouse(t, layer.Settings{PipIndexURL: x.URL()})
		p, err := h.fails(h.request(remuda.LanguagePython, pkg("bad", "")))
		if !strings.Contains(p.log.String(), "server's own network") {
			t.Errorf("got %v\n%s", err, p)
		}
		select {
		case <-reached:
			t.Error("the server was led to a service of its own network")
		default:
		}
	})
	t.Run("replaces a file", func(t *testing.T) {
		x := indextest.NewPython(t)
		f := x.Wheel(t, indextest.Project{Name: "bad", Version: "1.0", Files: map[string]string{"bad.py": "x = 1"}})
		h := newHouse(t, layer.Settings{PipIndexURL: x.URL()})
		p := &heard{}
		lock, err := h.Resolve(t.Context(), h.request(remuda.LanguagePython, pkg("bad", "")), p)
		if err != nil {
			t.Fatal(err)
		}
		was := f.Hash
		other := indextest.NewPython(t).Wheel(t, indextest.Project{Name: "bad", Version: "1.0", Files: map[string]string{"bad.py": "x = 'evil'"}})
		f.Content = other.Content
		for _, hash := range []string{was, "-"} { // the page tells of it, or does not
			f.Hash = hash
			if _, err := h.Install(t.Context(), h.org, lock, p); err == nil {
				t.Errorf("a file was taken that the lock does not name (hash %q)\n%s", hash, p)
			}
		}
		empty(t, h)
	})
}

// TestAllow builds what is allowed and needs what is not.
func TestAllow(t *testing.T) {
	t.Parallel()
	x := herd(t)
	for name, c := range map[string]struct {
		allow []string
		fails string
	}{
		"itself":        {[]string{"saddle"}, "horse-lib"},
		"what it needs": {[]string{"pip:horse_*"}, "saddle"},
		"both":          {[]string{"pip:Horse.Lib", "s*"}, ""},
		"of npm":        {[]string{"npm:*"}, "horse-lib"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, layer.Settings{PipIndexURL: x.URL(), Allow: c.allow})
			r := h.request(remuda.LanguagePython, pkg("horse-lib", ""))
			if c.fails == "" {
				h.make(r)
				return
			}
			p, err := h.fails(r)
			if remuda.CodeOf(err) != remuda.CodeForbidden || layer.BlamedPackage(err) != c.fails {
				t.Errorf("got %v\n%s", err, p)
			}
		})
	}
}
