package native

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"

	"github.com/coder/websocket"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/httpapi/openapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

// streamProtocol names the messages of a stream of executions, and their version.
const streamProtocol = "remuda.executions.v1"

const (
	// streamAhead is how many requests of a stream are read before the one that
	// runs has ended, and streamUntold how many ends may wait for their commit.
	// Beyond them the client's connection is not read: it has to wait.
	streamAhead  = 32
	streamUntold = 64
)

// stream is one connection that runs scripts in one runspace, in order.
type stream struct {
	edge     *edge
	conn     *websocket.Conn
	schema   *openapi.Schema
	runspace remuda.RunspaceID
	token    string
	p        remuda.Principal
	asked    chan []byte
	ended    chan func() ([]byte, error)
}

// streamExecutions answers each message, an execution request, with a message,
// the end of that execution or a problem, in order. Three goroutines share the
// work: one reads, one runs, this one waits for commits and writes; so the next
// script runs while the end of the last is being made durable, and ends that
// wait together share a commit.
func (e *edge) streamExecutions(c *call) error {
	if err := authz.Check(c.p, authz.ExecutionRun, c.p.Organization); err != nil {
		return err
	}
	id := remuda.RunspaceID(c.r.PathValue("runspace"))
	rs, err := e.Runspaces.GetRunspace(c.ctx(), c.p, id)
	if err != nil {
		return err
	}
	if rs.State.Final() {
		return &remuda.Error{Code: remuda.CodeConflict, Message: "runspace " + string(id) + " has ended", Cause: "it is " + string(rs.State), Remedy: "create another runspace"}
	}
	token, _ := httpapi.BearerToken(c.r.Header)
	conn, err := httpapi.Upgrade(c.w, c.r, streamProtocol, executionLimit)
	if err != nil || conn == nil {
		return err
	}
	s := &stream{
		edge: e, conn: conn, schema: e.doc.Operation("createRunspaceExecution").JSONBody(), runspace: id, token: token, p: c.p,
		asked: make(chan []byte, streamAhead), ended: make(chan func() ([]byte, error), streamUntold),
	}
	s.serve(c.ctx())
	return nil
}

// serve returns once the connection is closed and every execution that was begun
// is recorded.
func (s *stream) serve(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var parts sync.WaitGroup
	parts.Go(func() { s.read(ctx) })
	parts.Go(func() { s.run(ctx) })
	// While the client has to wait for its turn nobody reads its answers.
	waits := func() bool { return len(s.asked) >= streamAhead }
	parts.Go(func() { httpapi.WatchClient(ctx, s.conn, waits, cancel) })
	code, reason := s.answer(ctx)
	_ = s.conn.Close(code, reason) // ends read
	cancel()
	for recorded := range s.ended { // nobody is told of these
		_, _ = recorded()
	}
	parts.Wait()
}

// read takes requests as fast as they are run.
func (s *stream) read(ctx context.Context) {
	defer close(s.asked)
	for {
		kind, data, err := s.conn.Read(ctx)
		if err != nil {
			return // the client has gone, or what it sent is too large or no WebSocket
		}
		if kind != websocket.MessageText {
			data = nil // refused as an empty body is
		}
		select {
		case s.asked <- data:
		case <-ctx.Done():
			return
		}
	}
}

// run runs what was asked for, one at a time. What was only asked for when the
// connection ends is not begun.
func (s *stream) run(ctx context.Context) {
	defer close(s.ended)
	for data := range s.asked {
		if ctx.Err() != nil {
			continue
		}
		s.ended <- s.one(ctx, data)
	}
}

// one runs one script and returns what waits for its record.
func (s *stream) one(ctx context.Context, data []byte) func() ([]byte, error) {
	recorded, err := s.begin(ctx, data)
	if err != nil {
		return func() ([]byte, error) { return s.problem(err) }
	}
	return func() ([]byte, error) {
		ex, err := recorded()
		if err != nil {
			return s.problem(err)
		}
		return encode(executionWire(ex))
	}
}

func (s *stream) begin(ctx context.Context, data []byte) (func() (remuda.Execution, error), error) {
	// A token that is revoked, or loses its rights, must not live on in here.
	p, err := s.edge.Authenticator.AuthenticateToken(ctx, s.token)
	if err != nil {
		return nil, err
	}
	p.RequestID = s.p.RequestID
	var body submission
	if err := httpapi.DecodeJSON(data, s.schema, &body); err != nil {
		return nil, err
	}
	req, err := executionRequest(body)
	if err != nil {
		return nil, err
	}
	req.Runspace = s.runspace
	return s.edge.Executions.RunExecution(ctx, p, req, func() bool { return len(s.asked) > 0 })
}

// answer sends the ends in order, and says how to close the connection when the
// client has gone, does not listen any more, or the server ends.
func (s *stream) answer(ctx context.Context) (websocket.StatusCode, string) {
	for {
		select {
		case recorded, more := <-s.ended:
			if !more {
				return websocket.StatusNormalClosure, ""
			}
			data, err := recorded()
			if err != nil {
				return websocket.StatusInternalError, "an answer could not be encoded"
			}
			if err := httpapi.WriteMessage(ctx, s.conn, websocket.MessageText, data); err != nil {
				return websocket.StatusPolicyViolation, "answers were not taken"
			}
		case <-s.edge.options.Stopping:
			return websocket.StatusGoingAway, "the server is shutting down"
		}
	}
}

func (s *stream) problem(err error) ([]byte, error) {
	return encode(httpapi.NewProblem(err, s.p.RequestID))
}

func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), err
}
