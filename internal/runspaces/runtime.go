package runspaces

import "github.com/remuda-run/remuda/internal/remuda"

// EndRuntime closes every open runspace of a runtime. It does not wait.
func (s *Service) EndRuntime(p remuda.Principal, runtime remuda.RuntimeID, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.open {
		if r.of() == runtime {
			r.end(ending{state: remuda.RunspaceClosed, reason: reason, by: p})
		}
	}
}

// of is the runtime that a runspace is an instance of.
func (r *runspace) of() remuda.RuntimeID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.row.Runtime
}
