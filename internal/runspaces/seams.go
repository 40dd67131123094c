package runspaces

import (
	"context"
	"encoding/json"
	"time"

	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// Store is what this service needs of a store.
type Store interface {
	Write(ctx context.Context, fn func(*store.Tx) error) error
	Read(ctx context.Context, fn func(*store.Tx) error) error
	ReadOf(ctx context.Context, of store.Ended, fn func(*store.Tx) error) error
}

// Runtimes finds runtimes by id or name, for their use.
type Runtimes interface {
	Usable(p remuda.Principal, ref string) (remuda.Runtime, error)
}

// Pool hands out instances.
type Pool interface {
	Reserve(claim pool.Claim) (*pool.Lease, error)
}

// Limits says what bounds the runspaces of an organization, now.
type Limits interface {
	Limits(org remuda.OrganizationID) remuda.Limits
}

// Sessions knows which sessions are still there. What is not in the answer is
// not.
type Sessions interface {
	Living(ctx context.Context, tokens []remuda.TokenID) (map[remuda.TokenID]bool, error)
}

// Runner runs scripts in runspaces. It is the executions, which know runspaces and
// not the other way round: see SetRunner.
type Runner interface {
	// RunSystem starts a script of the server's own in a runspace that need not be
	// ready. It is recorded as any other, with p's user as its owner. The function
	// waits for its end; it need not be called.
	RunSystem(ctx context.Context, p remuda.Principal, run SystemRun) (remuda.ExecutionID, func(context.Context) (remuda.Execution, error), error)
	// CancelExecution interrupts an execution.
	CancelExecution(ctx context.Context, p remuda.Principal, id remuda.ExecutionID) (remuda.Execution, error)
}

// SystemRun is a script that the server runs by itself, such as a connection
// script. It may hold secrets: it is neither stored nor logged.
type SystemRun struct {
	Runspace   remuda.RunspaceID
	Name       string // of the execution
	Script     string
	Parameters map[string]json.RawMessage
	Scratch    []string      // names of parameters that are unbound when it has ended
	Timeout    time.Duration // 0 is the runtime's
}

// SetRunner says who runs scripts in runspaces. Call it before anything else.
func (s *Service) SetRunner(r Runner) { s.runner = r }
