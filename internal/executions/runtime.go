package executions

import (
	"context"

	"github.com/remuda-run/remuda/internal/remuda"
)

// EndRuntime cancels every one-shot execution on a runtime. Those in a runspace end
// with it. It does not wait for their end.
func (s *Service) EndRuntime(_ remuda.Principal, runtime remuda.RuntimeID, reason string) {
	for _, r := range s.all() {
		row := r.snapshot()
		if row.Runtime != runtime || row.Runspace != "" {
			continue
		}
		r.birth.begin() // its audit entry comes first
		err := r.cancel(context.Background(), reason, s.set.CancelGrace)
		if err != nil && remuda.CodeOf(err) != remuda.CodeConflict {
			s.log.Warn("an execution on a runtime that is being deleted could not be interrupted", "execution", r.id, "error", err)
		}
	}
}
