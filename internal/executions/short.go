package executions

import (
	"context"
	"strings"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// ExecutionByShort is GetExecution for one that ran in a runspace, by its short id
// (remuda.ShortID).
func (s *Service) ExecutionByShort(ctx context.Context, p remuda.Principal, short string) (remuda.Execution, error) {
	if err := authz.Check(p, authz.ExecutionRead, p.Organization); err != nil {
		return remuda.Execution{}, err
	}
	id, ok := s.liveByShort(short)
	if !ok {
		err := s.store.Read(ctx, func(tx *store.Tx) error {
			row, err := tx.ExecutionByShort(ctx, p.Organization, short)
			id = row.ID
			return err
		})
		if err != nil {
			return remuda.Execution{}, err
		}
	}
	return s.GetExecution(ctx, p, id)
}

func (s *Service) liveByShort(short string) (remuda.ExecutionID, bool) {
	tail := remuda.ShortTail(short)
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.live {
		if tail != "" && strings.HasSuffix(string(id), tail) && remuda.ShortID(id) == short {
			return id, true
		}
	}
	return "", false
}
