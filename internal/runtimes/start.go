package runtimes

import (
	"context"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// Start reads every runtime, makes the built-in ones that are missing and tells
// the pool about all of them. Call it once, before requests are served.
func (s *Service) Start(ctx context.Context) error {
	s.changes.Lock()
	defer s.changes.Unlock()
	var all []remuda.Runtime
	err := s.store.Read(ctx, func(tx *store.Tx) (err error) {
		all, err = tx.AllRuntimes(ctx)
		return err
	})
	if err != nil {
		return err
	}
	for _, rt := range all {
		s.catalog.put(rt)
		s.pool.SetGeneration(key(rt), s.within(rt.Organization, rt.Definition))
	}
	for _, language := range remuda.Languages() {
		if err := s.builtin(ctx, language); err != nil {
			return err
		}
	}
	return nil
}

// builtin makes the global runtime that is named like its language, if the
// machine has an interpreter for it and nobody has made it before. A site
// administrator may change it; a deleted one comes back at the next start.
func (s *Service) builtin(ctx context.Context, language remuda.Language) error {
	if _, ok := s.catalog.find(remuda.GlobalOrganization, string(language)); ok {
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
	d, err := s.valid(ctx, remuda.GlobalOrganization, WithDefaults(remuda.Definition{
		Name: string(language), Description: "Built in: the machine's own " + string(language),
		Language: language, Pool: s.set.BuiltinPool,
	}))
	if err != nil {
		return err
	}
	_, err = s.create(ctx, remuda.Principal{}, remuda.GlobalOrganization, d)
	return err
}
