package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// CreateExecution runs a script once on a fresh instance of a runtime. With
// wait > 0 the answer is the end state if it comes within wait (at most five
// minutes).
func (c *Client) CreateExecution(ctx context.Context, in ExecutionCreate, wait time.Duration) (Execution, error) {
	return call[Execution](ctx, c, http.MethodPost, "/v1/executions", waitQuery(wait), in)
}

// CreateExecutionOnce is CreateExecution that can be called again when its answer did
// not arrive: calls with the same key and the same request are one execution. Make
// a key for each request, of at most 200 letters, digits and other signs without
// spaces.
func (c *Client) CreateExecutionOnce(ctx context.Context, key string, in ExecutionCreate, wait time.Duration) (Execution, error) {
	return callWith[Execution](ctx, c, http.MethodPost, "/v1/executions", waitQuery(wait), in, http.Header{"Idempotency-Key": {key}})
}

// CreateRunspaceExecution runs a script in a runspace; wait is as in
// CreateExecution.
func (c *Client) CreateRunspaceExecution(ctx context.Context, runspace string, in RunspaceExecutionCreate, wait time.Duration) (Execution, error) {
	return call[Execution](ctx, c, http.MethodPost, at("runspaces", runspace, "executions"), waitQuery(wait), in)
}

// GetExecution returns an execution. With wait > 0 it returns when the execution
// has ended or wait (at most five minutes) is over.
func (c *Client) GetExecution(ctx context.Context, id string, wait time.Duration) (Execution, error) {
	return call[Execution](ctx, c, http.MethodGet, at("executions", id), waitQuery(wait), nil)
}

// WaitExecution returns when the execution has ended, however long that takes.
func (c *Client) WaitExecution(ctx context.Context, id string) (Execution, error) {
	for {
		ex, err := c.GetExecution(ctx, id, time.Minute)
		if err != nil || Final(ex.State) {
			return ex, err
		}
	}
}

// ExecutionFilter narrows a list of executions; empty fields do not.
type ExecutionFilter struct {
	Runspace string // id
	Runtime  string // id or name
	State    ExecutionState
	NoSystem bool // without what the server ran by itself
}

// ListExecutions returns a page of executions, newest first.
func (c *Client) ListExecutions(ctx context.Context, f ExecutionFilter, p Page) (ExecutionList, error) {
	q := p.query()
	for name, v := range map[string]string{"runspace": f.Runspace, "runtime": f.Runtime, "state": string(f.State)} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if f.NoSystem {
		q.Set("system", "false")
	}
	return call[ExecutionList](ctx, c, http.MethodGet, "/v1/executions", q, nil)
}

// CancelExecution interrupts an execution; it returns once the interrupt is sent.
func (c *Client) CancelExecution(ctx context.Context, id string) (Execution, error) {
	return call[Execution](ctx, c, http.MethodPost, at("executions", id, "cancel"), nil, nil)
}

// GetOutput returns the records after a number, at most about limit bytes (0 is
// the server's default). With wait > 0 it waits for a record or the end.
func (c *Client) GetOutput(ctx context.Context, id string, after int64, limit int, wait time.Duration) (OutputPage, error) {
	return call[OutputPage](ctx, c, http.MethodGet, at("executions", id, "output"), pageOfOutput(after, limit, wait), nil)
}

// pageOfOutput is the query of a page of records.
func pageOfOutput(after int64, limit int, wait time.Duration) url.Values {
	q := url.Values{"after": {strconv.FormatInt(after, 10)}}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	if wait > 0 {
		q.Set("wait", min(wait, maxWait).String())
	}
	return q
}
