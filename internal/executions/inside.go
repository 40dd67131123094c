package executions

import (
	"context"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
)

// inRunspace is the instance of a runspace.
type inRunspace struct{ hold *runspaces.Hold }

func (r inRunspace) ready() (now, fresh bool)       { return true, r.hold.Fresh }
func (inRunspace) warmth() (warm bool, cold string) { return true, "" }

func (r inRunspace) start(context.Context) (engine.Instance, remuda.Timings, error) {
	return r.hold.Instance, remuda.Timings{"lease": 0}, nil
}

// What earlier scripts have left would be missing anywhere else.
func (inRunspace) another() (*pool.Lease, error) { return nil, nil }

func (inRunspace) patient() bool                 { return false }
func (r inRunspace) env() map[string]string      { return r.hold.Runspace.Env }
func (inRunspace) killOnTimeout() bool           { return false }
func (r inRunspace) cut() *runspaces.Cut         { return r.hold.Cut() }
func (r inRunspace) left() bool                  { return r.hold.Left() }
func (inRunspace) holds() bool                   { return true }
func (r inRunspace) release(o runspaces.Outcome) { r.hold.Release(o) }

// inLine is a runspace that runs something else yet.
type inLine struct {
	ticket *runspaces.Ticket
	may    func(context.Context) error // whether whoever submitted it may run it now
	hold   *runspaces.Hold             // once it is our turn
}

func (*inLine) ready() (now, fresh bool)         { return false, false }
func (*inLine) warmth() (warm bool, cold string) { return true, "" }
func (*inLine) another() (*pool.Lease, error)    { return nil, nil }
func (*inLine) patient() bool                    { return true }
func (l *inLine) env() map[string]string         { return l.ticket.Runspace.Env }
func (*inLine) killOnTimeout() bool              { return false }
func (*inLine) holds() bool                      { return true }
func (l *inLine) left() bool                     { return l.hold != nil && l.hold.Left() }

func (l *inLine) start(ctx context.Context) (engine.Instance, remuda.Timings, error) {
	hold, err := l.ticket.Wait(ctx)
	if err != nil {
		return nil, nil, err
	}
	l.hold = hold
	if err := l.may(ctx); err != nil {
		return nil, nil, &refused{err}
	}
	return hold.Instance, remuda.Timings{"lease": 0}, nil
}

// refused is why an execution whose turn has come may not run any more.
type refused struct{ error }

func (r *refused) Unwrap() error { return r.error }

// stillMay checks that whoever submitted an execution may yet run it: it can have
// waited for long.
func (s *Service) stillMay(ctx context.Context, p remuda.Principal) error {
	if p.Token == "" || s.tokens == nil {
		return nil // what the server does by itself, and has decided
	}
	principals, err := s.tokens.Principals(ctx, []remuda.TokenID{p.Token})
	if err != nil {
		return &remuda.Error{
			Code: remuda.CodeOf(err), Message: "the rights of its user could not be looked at", Cause: remuda.Public(err),
			Remedy: "submit it again", Err: err,
		}
	}
	now, ok := principals[p.Token]
	if !ok {
		return &remuda.Error{
			Code: remuda.CodeUnauthenticated, Message: "the token or session with which it was submitted has ended",
			Remedy: "submit it with one that lives until its turn comes",
		}
	}
	return authz.Check(now, authz.ExecutionRun, p.Organization)
}

func (l *inLine) cut() *runspaces.Cut {
	if l.hold == nil {
		return nil
	}
	return l.hold.Cut()
}

func (l *inLine) release(o runspaces.Outcome) {
	if l.hold != nil {
		l.hold.Release(o)
	} else {
		l.ticket.Leave()
	}
}

// placeInRunspace gets the runspace for a run, or a place in its line.
func (s *Service) placeInRunspace(ctx context.Context, r *run, c *checker) error {
	c.notNarrowed(r.req)
	if def, ok := s.runspaces.Definition(r.p, r.req.Runspace); ok {
		c.timeout(r.req.Timeout, def)
	}
	if err := c.err(); err != nil {
		return err
	}
	if !r.req.Queue {
		hold, err := s.runspaces.Acquire(ctx, r.p, r.req.Runspace, r.id)
		if err != nil {
			return err
		}
		r.inside(hold)
		return nil
	}
	hold, ticket, err := s.runspaces.Queue(ctx, r.p, r.req.Runspace, r.id, weight(&r.req))
	switch {
	case err != nil:
		return err
	case hold != nil:
		r.inside(hold)
	default:
		r.place, r.def = &inLine{ticket: ticket, may: func(ctx context.Context) error { return s.stillMay(ctx, r.p) }}, ticket.Definition
		r.of(ticket.Runspace)
	}
	return nil
}

// weight is how much memory a request holds, about.
func weight(req *remuda.ExecutionRequest) int {
	const small = 4 << 10 // everything that is bounded to little
	n := small + len(req.Script) + len(req.Stdin)
	for _, f := range req.Files {
		n += len(f.Content)
	}
	for _, v := range req.Parameters {
		n += len(v)
	}
	for _, ps := range req.ParameterScripts {
		n += len(ps.Script) + len(ps.Value)
	}
	for _, arg := range req.Args {
		n += len(arg)
	}
	for _, v := range req.Env {
		n += len(v)
	}
	return n
}

// inside notes where r runs.
func (r *run) inside(hold *runspaces.Hold) {
	r.place, r.def = inRunspace{hold}, hold.Definition
	r.of(hold.Runspace)
}

func (r *run) of(rs remuda.Runspace) {
	r.row.Runtime, r.row.RuntimeName, r.row.Generation, r.row.Runspace = rs.Runtime, rs.RuntimeName, rs.Generation, rs.ID
}
