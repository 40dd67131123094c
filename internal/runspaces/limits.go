package runspaces

import (
	"fmt"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// limits are the organization's own, each of them zero where the site's applies.
func (s *Service) limits(org remuda.OrganizationID) remuda.Limits {
	if s.set.Limits == nil {
		return remuda.Limits{}
	}
	return s.set.Limits.Limits(org)
}

// within refuses one runspace more than an organization or a user may have open.
// Needs mu.
func (s *Service) within(row remuda.Runspace, limits remuda.Limits) error {
	organization, user := 0, 0
	for _, r := range s.open {
		if r.org != row.Organization {
			continue
		}
		organization++
		if r.owner == row.Owner {
			user++
		}
	}
	most := s.set.MaxOpen
	if limits.MaxRunspaces > 0 {
		most = limits.MaxRunspaces
	}
	switch {
	case organization >= most:
		return errTooMany(fmt.Sprintf("the organization has %d open, which is the limit", organization))
	case limits.MaxRunspacesPerUser > 0 && user >= limits.MaxRunspacesPerUser:
		return errTooMany(fmt.Sprintf("the user has %d open, which is the limit", user))
	default:
		return nil
	}
}

func errTooMany(cause string) error {
	return &remuda.Error{
		Code: remuda.CodeExhausted, Message: "no more runspaces can be opened", Cause: cause, Reason: remuda.ReasonTooManyRunspaces,
		Remedy: "delete runspaces that are not needed, or give them an idle timeout", RetryAfterSeconds: 5,
	}
}

// times are the idle and the active timeout of runspaces that do not ask for their
// own.
func (s *Service) times(limits remuda.Limits) (idle, active time.Duration) {
	idle, active = s.set.IdleTimeout, s.set.ActiveTimeout
	if limits.IdleTimeout > 0 {
		idle = limits.IdleTimeout
	}
	if limits.ActiveTimeout > 0 {
		active = limits.ActiveTimeout
	}
	return idle, active
}

// follow gives r the timeouts that its organization has now, where it did not ask
// for its own.
func (s *Service) follow(r *runspace) {
	idle, active := s.times(s.limits(r.org))
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.row.OwnIdleTimeout {
		r.row.IdleTimeout = idle
	}
	if !r.row.OwnActiveTimeout {
		r.row.ActiveTimeout = active
	}
}

// memory is the limit of a new runspace in MiB, 0 for its runtime's own.
func memory(asked int, limits remuda.Limits, rt remuda.Runtime) int {
	most := rt.Resources.MemoryMB
	if limits.MemoryMB > 0 {
		most = min(most, limits.MemoryMB)
	}
	if asked > 0 {
		most = min(most, asked)
	}
	if most == rt.Resources.MemoryMB {
		return 0
	}
	return most
}
