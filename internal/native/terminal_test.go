package native

import (
	"context"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/terminals"
)

func terminal() remuda.Terminal {
	code := 137
	return remuda.Terminal{ID: "trm_1", Runspace: "rs_1", Organization: "org_1", Owner: "usr_1", Command: []string{"bash"}, Rows: 24, Cols: 80, Attached: true, CreatedAt: day, EndedAt: &day, ExitCode: &code}
}

func (s *stage) OpenTerminal(_ context.Context, _ remuda.Principal, req remuda.TerminalRequest) (remuda.Terminal, remuda.TerminalTicket, error) {
	return terminal(), remuda.TerminalTicket{Secret: "rmtk_1", ExpiresAt: day.Add(time.Minute)}, s.note(req)
}

func (s *stage) ListTerminals(_ context.Context, _ remuda.Principal, id remuda.RunspaceID) ([]remuda.Terminal, error) {
	return []remuda.Terminal{terminal()}, s.note(id)
}

func (s *stage) GetTerminal(_ context.Context, _ remuda.Principal, ref string) (remuda.Terminal, error) {
	running := terminal()
	running.Command, running.ExitCode, running.EndedAt = nil, nil, nil
	return running, s.note(ref)
}

func (s *stage) CloseTerminal(_ context.Context, _ remuda.Principal, ref string) error {
	return s.note(ref)
}

func (s *stage) Ticket(_ context.Context, _ remuda.Principal, ref string) (remuda.TerminalTicket, error) {
	return remuda.TerminalTicket{Secret: "rmtk_2", ExpiresAt: day}, s.note(ref)
}

func (s *stage) Attach(_ context.Context, ref, secret string) (*terminals.Attachment, error) {
	return nil, s.note(ref, secret)
}

func TestTerminals(t *testing.T) {
	t.Parallel()
	runScenarios(t, httpapi.Options{}, []scenario{
		{
			name: "open", request: "POST /v1/runspaces/rs_1/terminals", body: `{"command":["bash","-l"],"env":{"A":"1"},"rows":40,"cols":120}`, status: 201,
			want:  []string{`"ticket":"rmtk_1"`, `"console":"/console/terminals/trm_1"`, "Location: /v1/terminals/trm_1", `"exit_code":137`, "Cache-Control: no-store"},
			asked: []any{remuda.TerminalRequest{Runspace: "rs_1", Command: []string{"bash", "-l"}, Env: map[string]string{"A": "1"}, Rows: 40, Cols: 120}},
		},
		{name: "open as it comes", request: "POST /v1/runspaces/rs_1/terminals", status: 201, asked: []any{remuda.TerminalRequest{Runspace: "rs_1", Rows: 24, Cols: 80}}},
		{name: "open too large", request: "POST /v1/runspaces/rs_1/terminals", body: `{"rows":1001,"cols":0,"x":1}`, status: 400, want: []string{`"field":"rows"`, `"field":"cols"`, `"field":"x"`}},
		{name: "list", request: "GET /v1/runspaces/rs_1/terminals", status: 200, want: []string{`{"items":[{`, `"id":"trm_1"`, `"next":null`}, asked: []any{remuda.RunspaceID("rs_1")}},
		{name: "get", request: "GET /v1/terminals/trm_1", status: 200, want: []string{`"command":[]`, `"exit_code":null`, `"ended_at":null`}, asked: []any{"trm_1"}},
		{name: "ticket", request: "POST /v1/terminals/trm_1/tickets", status: 201, want: []string{`"ticket":"rmtk_2"`, "Cache-Control: no-store"}, asked: []any{"trm_1"}},
		{name: "close", request: "DELETE /v1/terminals/trm_1", status: 204, asked: []any{"trm_1"}},
		{name: "connect without a WebSocket", request: "GET /v1/terminals/trm_1/connection", status: 400, want: []string{`"field":"Upgrade"`}},
	})
}

// FuzzWord decodes text messages of clients.
func FuzzWord(f *testing.F) {
	for _, s := range []string{`{"type":"open","ticket":"x","rows":1,"cols":2}`, `{"type":"resize","rows":-1}`, `{"type":"exit","code":1}`, `{}{}`, `[]`, `{"type":"open","problem":{}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := decodeWord(data)
		if err != nil {
			if remuda.CodeOf(err) != remuda.CodeInvalid {
				t.Errorf("%q: %v", data, err)
			}
			return
		}
		if w.Type != wordOpen && (w.Type != wordResize || w.Ticket != "") || w.Problem != nil || w.Code != nil || w.Resume != "" {
			t.Errorf("%q is taken as %+v", data, w)
		}
	})
}
