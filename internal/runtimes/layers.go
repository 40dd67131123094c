package runtimes

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/layer"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Layers makes the packages of generations into layers.
type Layers interface {
	// Resolve finds out what exactly is to be installed.
	Resolve(ctx context.Context, r layer.Request, p layer.Progress) (remuda.Lock, error)
	// Install makes the layer of a lock, or finds it made already.
	Install(ctx context.Context, org remuda.OrganizationID, lock remuda.Lock, p layer.Progress) (engine.Layer, error)
	// Layer returns a layer that is there.
	Layer(org remuda.OrganizationID, id remuda.LayerID) (engine.Layer, bool)
	// Collect removes every layer that is not used.
	Collect(ctx context.Context, used map[remuda.OrganizationID][]remuda.LayerID) error
}

// ownedLayer is a layer of an organization.
type ownedLayer struct {
	org remuda.OrganizationID
	id  remuda.LayerID
}

// shelf knows which layers are needed, and which answer which question.
type shelf struct {
	layers Layers
	ttl    time.Duration // how long an answer of the index counts

	// building is held for reading from before a layer is made until it is known
	// to be needed, so that it is not taken for unused in between.
	building sync.RWMutex

	mu      sync.Mutex
	of      map[remuda.GenerationKey]ownedLayer // of every generation that was served since the start
	answers map[string]answer
}

// answer is what an index said to a question.
type answer struct {
	build remuda.Build
	at    time.Time
}

func newShelf(l Layers, ttl time.Duration) *shelf {
	return &shelf{layers: l, ttl: ttl, of: map[remuda.GenerationKey]ownedLayer{}, answers: map[string]answer{}}
}

// question is what a build asks the index: equal questions have equal answers, for
// a while. Organizations do not hear each other's.
func question(org remuda.OrganizationID, d remuda.Definition, version string) string {
	return strings.Join(append([]string{string(org), string(d.Language), version, d.Environment}, wanted(d)...), "\n")
}

// need notes a build that is served.
func (s *shelf) need(org remuda.OrganizationID, b remuda.Build) {
	if b.Layer == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[b.Key] = ownedLayer{org, b.Layer}
}

// remember notes what a build of this process has answered. What an earlier one has
// asked, the site's settings of today might not allow.
func (s *shelf) remember(org remuda.OrganizationID, d remuda.Definition, b remuda.Build) {
	if b.Layer == "" || b.Status != remuda.RuntimeReady {
		return
	}
	s.need(org, b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[question(org, d, b.Version)] = answer{b, b.EndedAt}
}

// known returns a build that answers the question and whose layer is there.
func (s *shelf) known(org remuda.OrganizationID, d remuda.Definition, version string) (remuda.Build, bool) {
	s.mu.Lock()
	a, ok := s.answers[question(org, d, version)]
	s.mu.Unlock()
	if !ok || time.Since(a.at) > s.ttl {
		return remuda.Build{}, false
	}
	_, there := s.layers.Layer(org, a.build.Layer)
	return a.build, there
}

// find returns the layers of a build; ok is false when one is not there.
func (s *shelf) find(org remuda.OrganizationID, b remuda.Build) (layers []engine.Layer, ok bool) {
	if b.Layer == "" {
		return nil, true
	}
	if s.layers == nil {
		return nil, false
	}
	l, ok := s.layers.Layer(org, b.Layer)
	return []engine.Layer{l}, ok
}

// used lists the layers of every runtime, and of every generation of which there
// still are instances. What neither has is forgotten.
func (s *shelf) used(records []*record, living []remuda.GenerationKey) map[remuda.OrganizationID][]remuda.LayerID {
	needed := map[ownedLayer]bool{}
	alive := map[remuda.GenerationKey]bool{}
	for _, key := range living {
		alive[key] = true
	}
	for _, rec := range records {
		for _, b := range []remuda.Build{rec.Build, rec.built} {
			alive[b.Key] = true
			if b.Layer != "" {
				needed[ownedLayer{rec.Organization, b.Layer}] = true
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.of, func(key remuda.GenerationKey, _ ownedLayer) bool { return !alive[key] })
	for _, l := range s.of {
		needed[l] = true
	}
	maps.DeleteFunc(s.answers, func(_ string, a answer) bool { return time.Since(a.at) > s.ttl })
	used := map[remuda.OrganizationID][]remuda.LayerID{}
	for l := range needed {
		used[l.org] = append(used[l.org], l.id)
	}
	for _, ids := range used {
		slices.Sort(ids)
	}
	return used
}

// Collect has the layers removed that nothing needs. While a build goes on nothing
// is: its layer is not known to be needed yet.
func (s *Service) Collect(ctx context.Context) error {
	if s.shelf.layers == nil || !s.shelf.building.TryLock() {
		return nil
	}
	defer s.shelf.building.Unlock()
	s.changes.Lock()
	defer s.changes.Unlock()
	return s.shelf.layers.Collect(ctx, s.shelf.used(s.catalog.all(), s.pool.Living()))
}
