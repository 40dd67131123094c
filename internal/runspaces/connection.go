package runspaces

import (
	"context"

	"github.com/remuda-run/remuda/internal/remuda"
)

// connection is what a connection script needs and no row has.
type connection struct {
	credentials remuda.Credentials
}

// connect runs the connection script of r, which has its instance and is still being
// created.
func (s *Service) connect(_ context.Context, r *runspace) error {
	if !r.state().RunConnection {
		return nil
	}
	return remuda.Errorf(remuda.CodeUnsupported, "connection scripts cannot be run by this server")
}

// disconnect runs the disconnect script of r, which is ending and whose sandbox may
// still live.
func (s *Service) disconnect(*runspace) {}
