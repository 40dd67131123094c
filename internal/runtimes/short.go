package runtimes

import (
	"context"
	"strings"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
)

// ResolveShort is GetRuntime for a short id (remuda.ShortID).
func (s *Service) ResolveShort(p remuda.Principal, short string) (remuda.Runtime, error) {
	if err := authz.Check(p, authz.RuntimeRead, p.Organization); err != nil {
		return remuda.Runtime{}, err
	}
	if id, ok := s.catalog.byShort(p.Organization, short); ok {
		if rec, err := s.resolve(p, string(id)); err == nil {
			return s.shown(rec), nil
		}
	}
	return remuda.Runtime{}, remuda.NotFound("runtime", short)
}

// Builtin returns the built-in runtime of a language.
func (s *Service) Builtin(p remuda.Principal, language remuda.Language) (remuda.Runtime, error) {
	if err := authz.Check(p, authz.RuntimeRead, remuda.GlobalOrganization); err != nil {
		return remuda.Runtime{}, err
	}
	rec := s.catalog.find(remuda.GlobalOrganization, string(language))
	if rec == nil {
		return remuda.Runtime{}, &remuda.Error{
			Code: remuda.CodeNotFound, Message: "there is no built-in runtime for " + string(language), Cause: "the machine had no interpreter for it when the server started",
			Remedy: "install one and restart the server, or name another runtime",
		}
	}
	return s.shown(rec), nil
}

// byShort finds a runtime that org may see by the short form of its id. It looks at
// every one: a comparison of texts each.
func (c *catalog) byShort(org remuda.OrganizationID, short string) (remuda.RuntimeID, bool) {
	tail := remuda.ShortTail(short)
	if tail == "" {
		return "", false
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	for id, rt := range c.byID {
		if strings.HasSuffix(string(id), tail) && remuda.ShortID(id) == short && (rt.Organization == org || rt.Organization == remuda.GlobalOrganization) {
			return id, true
		}
	}
	return "", false
}

// VersionNames is RuntimeVersions without where the interpreters are, newest first.
func (s *Service) VersionNames(ctx context.Context, p remuda.Principal, language remuda.Language) ([]string, error) {
	known, err := s.RuntimeVersions(ctx, p, language)
	names := make([]string, 0, len(known))
	for _, in := range known {
		names = append(names, in.Version)
	}
	return names, err
}
