package executions

import (
	"context"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// ExecutionByUUID is GetExecution by the UUID that stands for an id (remuda.UUID).
func (s *Service) ExecutionByUUID(ctx context.Context, p remuda.Principal, uuid string) (remuda.Execution, error) {
	if err := authz.Check(p, authz.ExecutionRead, p.Organization); err != nil {
		return remuda.Execution{}, err
	}
	id, ok := s.liveByUUID(uuid)
	if !ok {
		err := s.store.ReadOf(ctx, store.Ended{Organization: p.Organization}, func(tx *store.Tx) error {
			row, err := tx.ExecutionByUUID(ctx, p.Organization, uuid)
			id = row.ID
			return err
		})
		if err != nil {
			return remuda.Execution{}, err
		}
	}
	return s.GetExecution(ctx, p, id)
}

func (s *Service) liveByUUID(uuid string) (remuda.ExecutionID, bool) {
	first, last := remuda.UUIDRange(remuda.PrefixExecution, uuid)
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.live {
		if string(id) >= first && string(id) <= last {
			return id, true
		}
	}
	return "", false
}
