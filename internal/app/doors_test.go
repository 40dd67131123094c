package app

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/remuda-run/remuda/internal/config"
	"github.com/remuda-run/remuda/internal/httpapi"
)

// A door is where the settings say, and nowhere when they say so.
func TestDoors(t *testing.T) {
	t.Parallel()
	native := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for _, c := range []struct {
		enabled      bool
		prefix, path string
		door         bool
	}{
		{true, "/MicroStrategyLibrary", "/MicroStrategyLibrary/api/status", true},
		{true, "/MicroStrategyLibrary", "/MicroStrategyLibrary/nothing", true},
		{true, "/MicroStrategyLibrary", "/MicroStrategyLibraryX/api/status", false},
		{true, "/MicroStrategyLibrary", "/v1/runtimes", false},
		{true, "/a/b", "/a/b/api/status", true},
		{true, "/a/b", "/MicroStrategyLibrary/api/status", false},
		{false, "/MicroStrategyLibrary", "/MicroStrategyLibrary/api/status", false},
	} {
		s := &server{services: &services{}}
		s.Config = config.Default()
		s.Config.CompatStrategyEnabled, s.Config.CompatStrategyPrefix = c.enabled, c.prefix
		h, err := s.withDoors(native, httpapi.Options{})
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, c.path, nil))
		if got := w.Code != http.StatusTeapot; got != c.door {
			t.Errorf("with %q (enabled %t), %s answers %d", c.prefix, c.enabled, c.path, w.Code)
		}
	}
}

// The SRS door has its paths and no others, and none when it is closed.
func TestSRSDoor(t *testing.T) {
	t.Parallel()
	native := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for path, theirs := range map[string]bool{
		"/api/about": true, "/api": true, "/api/nothing": true, "/admin/logs": true, "/swagger": true, "/swagger/srs/swagger.json": true, "/wc0123456789ab": true,
		"/apix": false, "/v1/api/about": false, "/": false, "/administrator": false, "/wc0123": false, "/swaggers": false,
	} {
		for _, enabled := range []bool{true, false} {
			s := &server{services: &services{}}
			s.Config = config.Default()
			s.Config.CompatSRSEnabled = enabled
			h, err := s.withDoors(native, httpapi.Options{})
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			if got := w.Code != http.StatusTeapot; got != (theirs && enabled) {
				t.Errorf("%s (enabled %t) answers %d", path, enabled, w.Code)
			}
		}
	}
}
