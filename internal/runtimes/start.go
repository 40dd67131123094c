package runtimes

import (
	"context"
	"fmt"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// Start reads every runtime, makes the built-in ones that are missing and tells
// the pool about all of them. Builds that an earlier server left busy are begun
// again. Call it once, before requests are served.
func (s *Service) Start(ctx context.Context) error {
	s.changes.Lock()
	defer s.changes.Unlock()
	records, err := s.load(ctx)
	if err != nil {
		return err
	}
	for _, rec := range records {
		if err := s.begin(ctx, rec); err != nil {
			return err
		}
	}
	for _, language := range remuda.Languages() {
		if err := s.builtin(ctx, language); err != nil {
			return err
		}
	}
	return nil
}

// load reads every runtime with its newest and its serving generation.
func (s *Service) load(ctx context.Context) (records []*record, err error) {
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		all, err := tx.AllRuntimes(ctx)
		if err != nil {
			return err
		}
		for _, rt := range all {
			rec, err := loadRecord(ctx, tx, rt)
			if err != nil {
				return fmt.Errorf("read the generations of runtime %s: %w", rt.ID, err)
			}
			records = append(records, rec)
		}
		return nil
	})
	return records, err
}

func loadRecord(ctx context.Context, tx *store.Tx, rt remuda.Runtime) (*record, error) {
	rec := &record{Runtime: rt}
	var err error
	if rec.Build, err = loadBuild(ctx, tx, rt, rt.Generation); err != nil || rt.Serving == 0 {
		return rec, err
	}
	rec.serves.Definition = rt.Definition
	if rec.built, err = loadBuild(ctx, tx, rt, rt.Serving); err != nil {
		return rec, err
	}
	if rt.Serving != rt.Generation {
		rec.serves.Definition, err = tx.Generation(ctx, rt.Organization, rec.built.Key)
	}
	return rec, err
}

// loadBuild reads a build. A generation from before there were builds has none:
// its status is unknown until begin says what it is.
func loadBuild(ctx context.Context, tx *store.Tx, rt remuda.Runtime, number int) (remuda.Build, error) {
	key := remuda.GenerationKey{Runtime: rt.ID, Number: number}
	b, err := tx.Build(ctx, rt.Organization, key)
	if remuda.CodeOf(err) == remuda.CodeNotFound {
		return remuda.Build{Key: key, Status: remuda.RuntimeUnknown, StartedAt: rt.UpdatedAt, EndedAt: rt.UpdatedAt}, nil
	}
	return b, err
}

// begin puts what was read of a runtime in force. Needs changes.
func (s *Service) begin(ctx context.Context, rec *record) error {
	known, err := s.versions.Versions(ctx, rec.Environment, rec.Language)
	if err != nil {
		return err
	}
	if rec.Build.Status == remuda.RuntimeUnknown {
		if err := s.adopt(ctx, rec, interpreter(rec.Definition, nil, known)); err != nil {
			return err
		}
	}
	layers, there := s.shelf.find(rec.Organization, rec.built)
	switch {
	case rec.Serving == 0:
		s.catalog.put(rec)
	case !there: // it would serve without what it promises
		lost := rec.Serving
		rec.Serving = 0
		s.catalog.put(rec)
		return s.rebuildAtStart(ctx, rec, rec.Build.Version, "the layer of generation %d is gone", lost)
	default:
		s.shelf.need(rec.Organization, rec.built)
		s.serve(rec, rec.serves.Definition, rec.built, layers)
	}
	if version := interpreter(rec.Definition, rec, known); version != rec.Build.Version && version != "" && rec.Build.Status == remuda.RuntimeReady {
		return s.rebuildAtStart(ctx, rec, version, "the machine has %s %s no longer", rec.Language, rec.Build.Version)
	}
	if rec.Build.Status == remuda.RuntimeBusy {
		return s.resume(ctx, rec)
	}
	return nil
}

// adopt records the build of a generation from before there were builds.
func (s *Service) adopt(ctx context.Context, rec *record, version string) error {
	rec.Build.Status, rec.Build.Version = remuda.RuntimeReady, version
	rec.built = rec.Build
	return s.store.Write(ctx, func(tx *store.Tx) error { return tx.InsertBuild(ctx, rec.Organization, rec.Build) })
}

// resume gives a build that a server before left busy to the builder.
func (s *Service) resume(ctx context.Context, rec *record) error {
	build := rec.Build
	build.Packages = statuses(rec.Definition)
	var last, size int64
	err := s.store.Write(ctx, func(tx *store.Tx) (err error) {
		if last, size, err = tx.BuildLogEnd(ctx, rec.Organization, build.Key); err != nil {
			return err
		}
		return tx.UpdateBuild(ctx, rec.Organization, build)
	})
	if err != nil {
		return err
	}
	l := newBuildLog(s.store, rec.Organization, build, last, size)
	l.sayf("the server was started again; the build begins anew")
	s.builder.set(&job{runtime: rec.ID, org: rec.Organization, def: rec.Definition, version: build.Version, log: l})
	s.log.Info("build resumed", "runtime", rec.ID, "generation", rec.Generation)
	return nil
}

// rebuildAtStart makes the next generation of a runtime that cannot go on as it
// was. Needs changes.
func (s *Service) rebuildAtStart(ctx context.Context, rec *record, version, why string, args ...any) error {
	cause := fmt.Sprintf(why, args...)
	s.log.Warn("a runtime is built again", "runtime", rec.ID, "cause", cause)
	next := rec.Runtime
	next.UpdatedAt = remuda.Now()
	st := step{next: next, version: version, again: true, details: map[string]string{"change": "rebuild", "cause": cause}}
	if len(rec.Build.Lock.Packages) > 0 && rec.Build.Version == version {
		st.lock = &rec.Build.Lock // the same as before
	}
	_, _, err := s.advance(ctx, rec, st)
	return err
}

// builtin makes the global runtime that is named like its language, if the
// machine has an interpreter for it and nobody has made it before. A site
// administrator may change it; a deleted one comes back at the next start.
func (s *Service) builtin(ctx context.Context, language remuda.Language) error {
	if s.catalog.find(remuda.GlobalOrganization, string(language)) != nil {
		return nil
	}
	known, err := s.versions.Versions(ctx, remuda.EnvironmentHost, language)
	if err != nil {
		return err
	}
	if len(known) == 0 {
		s.log.Info("no interpreter found: no built-in runtime", "language", language)
		return nil
	}
	d := WithDefaults(remuda.Definition{
		Name: string(language), Description: "Built in: the machine's own " + string(language),
		Language: language, Pool: s.set.BuiltinPool,
	})
	version, err := s.valid(ctx, remuda.GlobalOrganization, d, nil)
	if err != nil {
		return err
	}
	_, err = s.create(ctx, remuda.Principal{}, remuda.GlobalOrganization, d, version)
	return err
}
