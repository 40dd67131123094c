package runspaces

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// shownAfterError is how long one that ended in error is current, so that its owner
// can read why.
const shownAfterError = 10 * time.Minute

// current reports whether a runspace is one of CurrentRunspaces.
func current(row remuda.Runspace, now time.Time) bool {
	if !row.State.Final() {
		return true
	}
	return row.State == remuda.RunspaceError && !row.Dismissed && row.EndedAt != nil && now.Sub(*row.EndedAt) < shownAfterError
}

// maxErrors is how many of those are looked at, the newest ones.
const maxErrors = 200

// CurrentRunspaces lists what edges show whose closed runspaces are not there any
// more: the open ones, and those that ended in error lately and were not dismissed
// since. The newest come first.
func (s *Service) CurrentRunspaces(ctx context.Context, p remuda.Principal) ([]remuda.Runspace, error) {
	if err := authz.Check(p, authz.RunspaceRead, p.Organization); err != nil {
		return nil, err
	}
	now := time.Now()
	var list []remuda.Runspace
	seen := map[remuda.RunspaceID]bool{}
	add := func(row remuda.Runspace) {
		if sees(p, row.Organization, row.Owner) && !seen[row.ID] && current(row, now) {
			seen[row.ID] = true
			list = append(list, row)
		}
	}
	for _, r := range s.all() {
		add(r.snapshot())
	}
	filter := remuda.RunspaceFilter{State: remuda.RunspaceError, Owner: ownerOf(p)}
	err := s.store.ReadOf(ctx, store.Ended{}, func(tx *store.Tx) error {
		ended, _, err := tx.Runspaces(ctx, p.Organization, filter, remuda.Page{Limit: maxErrors})
		for _, row := range ended {
			add(row)
		}
		return err
	})
	slices.SortFunc(list, func(a, b remuda.Runspace) int { return strings.Compare(string(b.ID), string(a.ID)) })
	return list, err
}

// CurrentRunspace returns the one of CurrentRunspaces that a UUID (remuda.UUID)
// stands for.
func (s *Service) CurrentRunspace(ctx context.Context, p remuda.Principal, uuid string) (remuda.Runspace, error) {
	if err := authz.Check(p, authz.RunspaceRead, p.Organization); err != nil {
		return remuda.Runspace{}, err
	}
	none := remuda.NotFound("runspace", uuid)
	id, ok := s.openByUUID(uuid)
	if !ok {
		err := s.store.ReadOf(ctx, store.Ended{}, func(tx *store.Tx) error {
			row, err := tx.RunspaceByUUID(ctx, p.Organization, uuid)
			id = row.ID
			return err
		})
		if err != nil {
			return remuda.Runspace{}, err
		}
	}
	row, err := s.GetRunspace(ctx, p, id)
	if err == nil && !current(row, time.Now()) || remuda.CodeOf(err) == remuda.CodeNotFound {
		return remuda.Runspace{}, none
	}
	return row, err
}

func (s *Service) openByUUID(uuid string) (remuda.RunspaceID, bool) {
	first, last := remuda.UUIDRange(remuda.PrefixRunspace, uuid)
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.open {
		if string(id) >= first && string(id) <= last {
			return id, true
		}
	}
	return "", false
}

// DismissRunspace takes one that ended in error from the current ones. Of any other it
// does nothing.
func (s *Service) DismissRunspace(ctx context.Context, p remuda.Principal, id remuda.RunspaceID) error {
	if err := authz.Check(p, authz.RunspaceWrite, p.Organization); err != nil {
		return err
	}
	row, err := s.GetRunspace(ctx, p, id)
	if err != nil || row.State != remuda.RunspaceError || row.Dismissed {
		return err
	}
	row.Dismissed = true
	return s.store.Write(ctx, func(tx *store.Tx) error {
		if err := tx.UpdateRunspace(ctx, row); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, entry(p, row, authz.RunspaceWrite, map[string]string{"change": "dismiss"}))
	})
}
