package native

import (
	"context"
	"net/http"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/terminals"
)

// Terminals are programs with a terminal of their own in a runspace. ref is an id
// or another name.
type Terminals interface {
	OpenTerminal(ctx context.Context, p remuda.Principal, req remuda.TerminalRequest) (remuda.Terminal, remuda.TerminalTicket, error)
	ListTerminals(ctx context.Context, p remuda.Principal, runspace remuda.RunspaceID) ([]remuda.Terminal, error)
	GetTerminal(ctx context.Context, p remuda.Principal, ref string) (remuda.Terminal, error)
	CloseTerminal(ctx context.Context, p remuda.Principal, ref string) error
	// Ticket gives one more connection.
	Ticket(ctx context.Context, p remuda.Principal, ref string) (remuda.TerminalTicket, error)
	// Attach makes a connection with a ticket's secret.
	Attach(ctx context.Context, ref, secret string) (*terminals.Attachment, error)
}

func (e *edge) createTerminal(c *call) error {
	var body api.TerminalCreate
	if c.r.ContentLength != 0 {
		if err := c.read(bodyLimit, &body); err != nil {
			return err
		}
	}
	req := remuda.TerminalRequest{Runspace: remuda.RunspaceID(c.r.PathValue("runspace")), Command: body.Command, Env: body.Env, Rows: remuda.DefaultTerminalRows, Cols: remuda.DefaultTerminalCols}
	if body.Rows != nil {
		req.Rows = *body.Rows
	}
	if body.Cols != nil {
		req.Cols = *body.Cols
	}
	t, ticket, err := e.Terminals.OpenTerminal(c.ctx(), c.p, req)
	if err != nil {
		return err
	}
	return c.created(http.StatusCreated, "/v1/terminals/"+string(t.ID), api.TerminalCreated{
		Terminal: terminalWire(t), Ticket: ticket.Secret, TicketExpiresAt: instant(ticket.ExpiresAt), Console: consolePath + string(t.ID),
	})
}

// consolePath is where package console has its pages.
const consolePath = "/console/terminals/"

func (e *edge) listTerminals(c *call) error {
	items, err := e.Terminals.ListTerminals(c.ctx(), c.p, remuda.RunspaceID(c.r.PathValue("runspace")))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, api.TerminalList{Items: each(items, terminalWire)})
}

func (e *edge) getTerminal(c *call) error {
	t, err := e.Terminals.GetTerminal(c.ctx(), c.p, c.r.PathValue("terminal"))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, terminalWire(t))
}

func (e *edge) deleteTerminal(c *call) error {
	if err := e.Terminals.CloseTerminal(c.ctx(), c.p, c.r.PathValue("terminal")); err != nil {
		return err
	}
	return c.noContent()
}

func (e *edge) createTerminalTicket(c *call) error {
	ticket, err := e.Terminals.Ticket(c.ctx(), c.p, c.r.PathValue("terminal"))
	if err != nil {
		return err
	}
	return c.reply(http.StatusCreated, api.TerminalTicket{Ticket: ticket.Secret, ExpiresAt: instant(ticket.ExpiresAt)})
}

func (e *edge) connectTerminal(c *call) error {
	select {
	case e.strangers <- struct{}{}:
	default:
		return &remuda.Error{Code: remuda.CodeExhausted, Message: "too many connections have not shown a ticket yet", Remedy: "try again", RetryAfterSeconds: 1}
	}
	known := func() { <-e.strangers }
	conn, err := httpapi.Upgrade(c.w, c.r, terminalProtocol, terminalLimit)
	if err != nil || conn == nil {
		known()
		return err
	}
	serveTerminal(c.ctx(), &terminalConn{edge: e, conn: conn, ref: c.r.PathValue("terminal"), request: httpapi.RequestID(c.ctx())}, known)
	return nil
}

func terminalWire(t remuda.Terminal) api.Terminal {
	command := t.Command
	if command == nil {
		command = []string{}
	}
	return api.Terminal{
		Id: string(t.ID), Runspace: string(t.Runspace), Owner: string(t.Owner), Command: command, Rows: t.Rows, Cols: t.Cols,
		Attached: t.Attached, ExitCode: t.ExitCode, CreatedAt: instant(t.CreatedAt), EndedAt: instantOrNull(t.EndedAt),
	}
}
