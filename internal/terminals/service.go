package terminals

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/audit"
	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runtimes"
	"github.com/remuda-run/remuda/internal/store"
)

// Store is what this service needs of a store.
type Store interface {
	Write(ctx context.Context, fn func(*store.Tx) error) error
}

// Runspaces are where terminals are.
type Runspaces interface {
	GetRunspace(ctx context.Context, p remuda.Principal, id remuda.RunspaceID) (remuda.Runspace, error)
	// Use returns the instance of a runspace that is ready. Until release is called
	// the runspace is not idle.
	Use(ctx context.Context, p remuda.Principal, id remuda.RunspaceID) (release func(), inst engine.Instance, err error)
}

// Tokens knows who would act with tokens now, and in which role. What is not in the
// answer cannot be used any more.
type Tokens interface {
	Principals(ctx context.Context, ids []remuda.TokenID) (map[remuda.TokenID]remuda.Principal, error)
}

// Service is the terminals of every organization. Make it with New, run it with
// Run, end it with Close.
type Service struct {
	store     Store
	runspaces Runspaces
	tokens    Tokens
	log       *slog.Logger
	set       Settings

	mu      sync.Mutex
	open    map[remuda.TerminalID]*terminal // those that have ended and are still kept, too
	opening map[remuda.RunspaceID]int
	tickets tickets
	closed  bool
	parts   sync.WaitGroup // of terminals
}

// New returns the service.
func New(st Store, rs Runspaces, tokens Tokens, log *slog.Logger, set Settings) *Service {
	return &Service{
		store: st, runspaces: rs, tokens: tokens, log: log, set: set.withDefaults(),
		open: map[remuda.TerminalID]*terminal{}, opening: map[remuda.RunspaceID]int{}, tickets: tickets{},
	}
}

// Bounds of a request.
const (
	maxCommandWords = 64
	maxCommandBytes = 8 << 10
)

// OpenTerminal starts a program with a terminal in a runspace that is ready, and
// returns a ticket for the first connection.
func (s *Service) OpenTerminal(ctx context.Context, p remuda.Principal, req remuda.TerminalRequest) (remuda.Terminal, remuda.TerminalTicket, error) {
	none := remuda.TerminalTicket{}
	if err := authz.Check(p, authz.ExecutionRun, p.Organization); err != nil {
		return remuda.Terminal{}, none, err
	}
	if req.Rows == 0 && req.Cols == 0 {
		req.Rows, req.Cols = remuda.DefaultTerminalRows, remuda.DefaultTerminalCols
	}
	if wrong := check(req); len(wrong) > 0 {
		return remuda.Terminal{}, none, remuda.Invalid(wrong...)
	}
	release, inst, err := s.runspaces.Use(ctx, p, req.Runspace)
	if err != nil {
		return remuda.Terminal{}, none, err
	}
	defer release()
	in, ok := inst.(engine.Terminaler)
	if !ok {
		return remuda.Terminal{}, none, &remuda.Error{
			Code: remuda.CodeUnsupported, Message: "no terminal can be opened in this runspace", Cause: "its class of isolation has none",
			Remedy: "use a runtime whose isolation is " + string(remuda.IsolationProcess),
		}
	}
	done, err := s.reserve(req.Runspace)
	if err != nil {
		return remuda.Terminal{}, none, err
	}
	defer done()
	opened, err := in.OpenTerminal(ctx, engine.TerminalSpec{Command: req.Command, Env: req.Env, Rows: req.Rows, Cols: req.Cols})
	if err != nil {
		return remuda.Terminal{}, none, err
	}
	info := remuda.Terminal{
		ID: remuda.NewTerminalID(), Alias: req.Alias, Runspace: req.Runspace, Organization: p.Organization, Owner: p.User,
		Command: req.Command, Rows: req.Rows, Cols: req.Cols, CreatedAt: remuda.Now(),
	}
	if err := s.audit(ctx, p, info, "open"); err != nil {
		return remuda.Terminal{}, none, errors.Join(err, opened.Close())
	}
	t := newTerminal(info, opened, s.set.Scrollback)
	ticket, err := s.add(t, p)
	if err != nil {
		return remuda.Terminal{}, none, errors.Join(err, opened.Close())
	}
	s.log.Info("terminal opened", "terminal", info.ID, "runspace", info.Runspace, "request", p.RequestID)
	return t.show(), ticket, nil
}

// check returns every wrong field of a request.
func check(req remuda.TerminalRequest) []remuda.FieldError {
	var wrong []remuda.FieldError
	add := func(field, message string) {
		wrong = append(wrong, remuda.FieldError{Field: field, Message: message})
	}
	size := 0
	for _, word := range req.Command {
		size += len(word)
	}
	switch {
	case len(req.Command) > maxCommandWords || size > maxCommandBytes:
		add("command", fmt.Sprintf("must be at most %d words with %d bytes together", maxCommandWords, maxCommandBytes))
	case len(req.Command) > 0 && req.Command[0] == "":
		add("command", "must begin with a program")
	}
	wrong = append(wrong, remuda.CheckTerminalSize(req.Rows, req.Cols)...)
	return append(wrong, runtimes.CheckEnv("env", req.Env)...)
}

// reserve counts a terminal that is being opened.
func (s *Service) reserve(id remuda.RunspaceID) (done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.opening[id]
	for _, t := range s.open {
		if t.runspace == id && !t.over() {
			n++
		}
	}
	switch {
	case s.closed:
		return nil, remuda.ShuttingDown()
	case n >= s.set.PerRunspace:
		return nil, &remuda.Error{
			Code: remuda.CodeExhausted, Message: fmt.Sprintf("runspace %s has %d terminals already", id, n), Cause: "a runspace has at most " + fmt.Sprint(s.set.PerRunspace),
			Remedy: "close one of them, or connect to one", Reason: remuda.ReasonTooManyTerminals,
		}
	}
	s.opening[id]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.opening[id]--; s.opening[id] == 0 {
			delete(s.opening, id)
		}
	}, nil
}

// add makes a terminal known and begins to read it.
func (s *Service) add(t *terminal, p remuda.Principal) (remuda.TerminalTicket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return remuda.TerminalTicket{}, remuda.ShuttingDown()
	}
	if t.alias != "" {
		for _, other := range s.open {
			if other.alias == t.alias {
				return remuda.TerminalTicket{}, &remuda.Error{
					Code: remuda.CodeConflict, Message: "there is a terminal " + t.alias, Remedy: "connect to it, or close it first",
				}
			}
		}
	}
	ticket, err := s.tickets.issue(t.id, p, time.Now().Add(s.set.TicketLife))
	if err != nil {
		return remuda.TerminalTicket{}, err
	}
	s.open[t.id] = t
	s.parts.Go(t.read)
	s.parts.Go(t.typeIn)
	return ticket, nil
}

// sees is the tenancy of terminals: what p does not see is not there.
func sees(p remuda.Principal, t *terminal) bool {
	return p.Organization == t.organization && (!p.OwnOnly || p.User == t.owner)
}

// find is the terminal that p sees by an id or another name.
func (s *Service) find(p remuda.Principal, ref string) (*terminal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.named(ref); t != nil && sees(p, t) {
		return t, nil
	}
	return nil, remuda.NotFound("terminal", ref)
}

// named needs mu.
func (s *Service) named(ref string) *terminal {
	if t := s.open[remuda.TerminalID(ref)]; t != nil || ref == "" {
		return t
	}
	for _, t := range s.open {
		if t.alias == ref {
			return t
		}
	}
	return nil
}

// GetTerminal returns a terminal by its id or other name. One that has ended can
// be looked at for some minutes.
func (s *Service) GetTerminal(_ context.Context, p remuda.Principal, ref string) (remuda.Terminal, error) {
	if err := authz.Check(p, authz.RunspaceRead, p.Organization); err != nil {
		return remuda.Terminal{}, err
	}
	t, err := s.find(p, ref)
	if err != nil {
		return remuda.Terminal{}, err
	}
	return t.show(), nil
}

// ListTerminals lists the terminals of a runspace, oldest first; of all runspaces
// when runspace is "".
func (s *Service) ListTerminals(ctx context.Context, p remuda.Principal, runspace remuda.RunspaceID) ([]remuda.Terminal, error) {
	if err := authz.Check(p, authz.RunspaceRead, p.Organization); err != nil {
		return nil, err
	}
	if runspace != "" {
		if _, err := s.runspaces.GetRunspace(ctx, p, runspace); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []remuda.Terminal{}
	for _, t := range s.open {
		if sees(p, t) && (runspace == "" || t.runspace == runspace) {
			list = append(list, t.show())
		}
	}
	slices.SortFunc(list, func(a, b remuda.Terminal) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return list, nil
}

// Ticket gives whoever may run scripts one more connection to a terminal.
func (s *Service) Ticket(_ context.Context, p remuda.Principal, ref string) (remuda.TerminalTicket, error) {
	if err := authz.Check(p, authz.ExecutionRun, p.Organization); err != nil {
		return remuda.TerminalTicket{}, err
	}
	t, err := s.find(p, ref)
	if err != nil {
		return remuda.TerminalTicket{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tickets.issue(t.id, p, time.Now().Add(s.set.TicketLife))
}

// CloseTerminal ends a terminal's program and everything in its session, and
// forgets it. A program that the kernel does not let go of keeps nobody: the terminal
// stays known then, and can be closed again.
func (s *Service) CloseTerminal(ctx context.Context, p remuda.Principal, ref string) error {
	if err := authz.Check(p, authz.ExecutionRun, p.Organization); err != nil {
		return err
	}
	t, err := s.find(p, ref)
	if err != nil {
		return err
	}
	if err := s.audit(ctx, p, t.show(), "close"); err != nil {
		return err
	}
	if err = s.endWithin(ctx, t); !t.over() {
		return err
	}
	s.forget(t.id)
	s.log.Info("terminal closed", "terminal", t.id, "runspace", t.runspace, "request", p.RequestID)
	return err
}

// endWithin ends the program of a terminal, as long as its caller and the settings wait.
func (s *Service) endWithin(ctx context.Context, t *terminal) error {
	ctx, cancel := context.WithTimeout(ctx, s.set.CloseWithin)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- t.end() }() // the engine bounds it
	select {
	case err := <-closed:
		if remuda.CodeOf(err) == remuda.CodeDeadline {
			if t.over() { // since it was said that it has not
				return nil
			}
			return err
		}
		select {
		case <-t.ended:
			return err
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
	return &remuda.Error{
		Code: engine.ContextCode(ctx), Message: "terminal " + string(t.id) + " has not ended yet",
		Cause: "its program is killed, and the kernel has not let go of it", Remedy: "close it again later, or delete its runspace", Err: ctx.Err(),
	}
}

func (s *Service) forget(id remuda.TerminalID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, id)
	s.tickets.drop(id)
}

// audit records what was done with a terminal.
func (s *Service) audit(ctx context.Context, p remuda.Principal, t remuda.Terminal, change string) error {
	return s.store.Write(ctx, func(tx *store.Tx) error {
		return tx.AppendAudit(ctx, audit.Entry(p, authz.ExecutionRun, string(t.ID), nil, remuda.Now(), "change", change+" terminal", "runspace", string(t.Runspace)))
	})
}
