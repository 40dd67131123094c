package terminals

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Attachment is a connection to a terminal. As long as it lasts the runspace is
// not idle. Close it.
type Attachment struct {
	// Terminal is how it was when the connection began.
	Terminal remuda.Terminal
	// Resume is a ticket for another connection by the same person. It can be used
	// while this one lives and for a ticket's life after that.
	Resume string
	// Skipped is how many bytes were shown before the first that this connection
	// gets.
	Skipped int64
	// Kept is how many bytes that were shown before come first.
	Kept int64

	s       *Service
	t       *terminal
	p       remuda.Principal
	release func()
	from    int64         // position of the next byte to be given; under t.mu
	why     error         // why it is over; under t.mu
	gone    chan struct{} // closed when it is over
}

// Attach connects to a terminal, with a ticket that is used up. ref is its id or
// other name.
func (s *Service) Attach(ctx context.Context, ref, secret string) (*Attachment, error) {
	s.mu.Lock()
	held, ok := s.tickets.take(secret)
	t := s.named(ref)
	closed := s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return nil, remuda.ShuttingDown()
	case !ok || t == nil || held.terminal != t.id:
		return nil, &remuda.Error{
			Code: remuda.CodeUnauthenticated, Message: "the ticket is wrong", Cause: "it was used, has expired, or is of another terminal",
			Remedy: "ask for a new one: POST .../terminals/{terminal}/tickets",
		}
	}
	p := held.p
	if err := s.still(ctx, p); err != nil {
		return nil, err
	}
	a := &Attachment{s: s, t: t, p: p, release: func() {}, gone: make(chan struct{})}
	if !t.over() { // of one that has ended the last words can be read
		release, _, err := s.runspaces.Use(ctx, p, t.runspace)
		if err != nil {
			return nil, err
		}
		a.release = release
	}
	if err := s.audit(ctx, p, t.show(), "connect to"); err != nil {
		a.release()
		return nil, err
	}
	if err := a.begin(); err != nil {
		a.release()
		return nil, err
	}
	return a, nil
}

// still checks that somebody may yet do what they could when they got their ticket.
func (s *Service) still(ctx context.Context, p remuda.Principal) error {
	if p.Token == "" {
		return authz.Check(p, authz.ExecutionRun, p.Organization)
	}
	principals, err := s.tokens.Principals(ctx, []remuda.TokenID{p.Token})
	if err != nil {
		return err
	}
	return may(principals, p.Token)
}

// may is nil when whoever acts with a token now may use terminals.
func may(principals map[remuda.TokenID]remuda.Principal, token remuda.TokenID) error {
	p, ok := principals[token]
	if !ok {
		return errRevoked()
	}
	return authz.Check(p, authz.ExecutionRun, p.Organization)
}

func errRevoked() error {
	return &remuda.Error{
		Code: remuda.CodeUnauthenticated, Message: "the connection has no right to the terminal any more", Cause: "the token with which it was made is revoked or has expired",
		Remedy: "authenticate again, and ask for a new ticket",
	}
}

func errTaken() error {
	return &remuda.Error{
		Code: remuda.CodeConflict, Message: "another connection has taken the terminal over", Cause: "a terminal has one connection at a time",
		Remedy: "connect again to take it back",
	}
}

// begin takes the terminal over.
func (a *Attachment) begin() error {
	a.s.mu.Lock()
	resume, err := a.s.tickets.issue(a.t.id, a.p, time.Time{})
	a.s.mu.Unlock()
	if err != nil {
		return err
	}
	a.Resume = resume.Secret
	a.t.mu.Lock()
	old := a.t.attached
	a.from = a.t.kept.begin()
	a.Skipped, a.Kept = a.from, a.t.kept.end-a.from
	a.t.attached = a
	a.Terminal = a.t.info
	a.Terminal.Attached = true
	a.t.mu.Unlock()
	if old != nil {
		old.leave(errTaken())
	}
	return nil
}

// Next waits for something to show and returns it. The error is io.EOF when the
// program has ended and all is shown.
func (a *Attachment) Next(ctx context.Context) ([]byte, error) {
	for {
		data, changed, err := a.take()
		if err != nil || len(data) > 0 {
			return data, err
		}
		select {
		case <-changed:
		case <-a.gone:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// maxPiece bounds what is shown at once.
const maxPiece = 32 << 10

// take is Next without waiting.
func (a *Attachment) take() ([]byte, <-chan struct{}, error) {
	t := a.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.why != nil {
		return nil, nil, a.why
	}
	a.from = max(a.from, t.kept.start())
	p := make([]byte, min(maxPiece, t.kept.end-a.from))
	if len(p) > 0 {
		a.from += int64(t.kept.read(p, a.from))
		t.wake() // the program may wait for that
		return p, nil, nil
	}
	if t.info.EndedAt != nil {
		return nil, nil, io.EOF
	}
	return nil, t.changed, nil
}

// ErrOver is what Write returns when the program has ended.
var ErrOver = errors.New("the terminal's program has ended")

// Write types p. It waits while the program does not read.
func (a *Attachment) Write(ctx context.Context, p []byte) error {
	if err := a.Why(); err != nil {
		return err
	}
	select {
	case <-a.t.ended:
		return ErrOver
	default:
	}
	select {
	case a.t.input <- append([]byte(nil), p...):
		return nil
	case <-a.t.ended:
		return ErrOver
	case <-a.gone:
		return a.Why()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Resize tells the program the size of its terminal.
func (a *Attachment) Resize(rows, cols int) error {
	if wrong := remuda.CheckTerminalSize(rows, cols); len(wrong) > 0 {
		return remuda.Invalid(wrong...)
	}
	t := a.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.why != nil || t.info.EndedAt != nil || t.info.Rows == rows && t.info.Cols == cols {
		return a.why
	}
	if err := t.program.Resize(rows, cols); err != nil {
		return nil // it is just ending
	}
	t.info.Rows, t.info.Cols = rows, cols
	return nil
}

// Gone is closed when the connection is over: it was taken over, or has lost its
// right.
func (a *Attachment) Gone() <-chan struct{} { return a.gone }

// Why says why the connection is over, nil while it is not.
func (a *Attachment) Why() error {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	return a.why
}

// ExitCode is the program's, once Next has returned io.EOF.
func (a *Attachment) ExitCode() int {
	info := a.t.show()
	if info.ExitCode == nil {
		return 0
	}
	return *info.ExitCode
}

// Close ends the connection. The program runs on.
func (a *Attachment) Close() {
	a.leave(remuda.Errorf(remuda.CodeCanceled, "the connection was closed"))
}

// leave ends it for a reason, once.
func (a *Attachment) leave(why error) {
	t := a.t
	t.mu.Lock()
	if a.why != nil {
		t.mu.Unlock()
		return
	}
	a.why = why
	if t.attached == a {
		t.attached = nil
	}
	close(a.gone)
	t.wake()
	t.mu.Unlock()
	a.release()
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.s.tickets.until(a.Resume, time.Now().Add(a.s.set.TicketLife))
}
