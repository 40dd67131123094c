package native

import (
	"net/http"
	"strconv"
	"time"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

// submission is what is to run, and how long its end is waited for.
func (c *call) submission() (req remuda.ExecutionRequest, wait time.Duration, err error) {
	if wait, err = httpapi.ParseWait(c.query.Get("wait")); err != nil {
		return req, 0, err
	}
	var body submission
	if err := c.read(executionLimit, &body); err != nil {
		return req, 0, err
	}
	req, err = executionRequest(body)
	req.IdempotencyKey = c.r.Header.Get("Idempotency-Key")
	return req, wait, err
}

func (e *edge) createExecution(c *call) error {
	req, wait, err := c.submission()
	if err != nil {
		return err
	}
	ex, err := e.Executions.SubmitExecution(c.ctx(), c.p, req, wait)
	if err != nil {
		return httpapi.Reference("runtime", err)
	}
	return c.submitted(ex)
}

func (e *edge) createRunspaceExecution(c *call) error {
	req, wait, err := c.submission()
	if err != nil {
		return err
	}
	req.Runspace = remuda.RunspaceID(c.r.PathValue("runspace"))
	ex, err := e.Executions.SubmitExecution(c.ctx(), c.p, req, wait)
	if err != nil {
		return err
	}
	return c.submitted(ex)
}

// submitted answers 200 with an end state, else 202.
func (c *call) submitted(ex remuda.Execution) error {
	status := http.StatusAccepted
	if ex.State.Final() {
		status = http.StatusOK
	}
	return c.created(status, "/v1/executions/"+string(ex.ID), executionWire(ex))
}

func (e *edge) listExecutions(c *call) error {
	filter := remuda.ExecutionFilter{
		Runspace: remuda.RunspaceID(c.query.Get("runspace")),
		State:    remuda.ExecutionState(c.query.Get("state")),
		NoSystem: c.query.Get("system") == "false",
	}
	var err error
	if filter.Runtime, err = e.runtimeID(c, c.query.Get("runtime")); err != nil {
		return err
	}
	items, next, err := e.Executions.ListExecutions(c.ctx(), c.p, filter, httpapi.Page(c.query))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, api.ExecutionList{Items: each(items, executionWire), Next: optional(next)})
}

func (e *edge) getExecution(c *call) error {
	wait, err := httpapi.ParseWait(c.query.Get("wait"))
	if err != nil {
		return err
	}
	id := remuda.ExecutionID(c.r.PathValue("execution"))
	var ex remuda.Execution
	if wait > 0 {
		ex, err = e.Executions.WaitExecution(c.ctx(), c.p, id, wait)
	} else {
		ex, err = e.Executions.GetExecution(c.ctx(), c.p, id)
	}
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, executionWire(ex))
}

func (e *edge) cancelExecution(c *call) error {
	ex, err := e.Executions.CancelExecution(c.ctx(), c.p, remuda.ExecutionID(c.r.PathValue("execution")))
	if err != nil {
		return err
	}
	return c.reply(http.StatusAccepted, executionWire(ex))
}

const (
	defaultOutputBytes = 1 << 20
	// streamBytes is how much of the output a stream holds at a time.
	streamBytes = 256 << 10
	// heartbeat is how long a stream is quiet before it says that it lives.
	heartbeat = 15 * time.Second
)

func (e *edge) getExecutionOutput(c *call) error {
	id := remuda.ExecutionID(c.r.PathValue("execution"))
	wait, err := httpapi.ParseWait(c.query.Get("wait"))
	if err != nil {
		return err
	}
	after := integer(c.query.Get("after"), 0)
	if httpapi.AcceptsEvents(c.r.Header) {
		return e.streamOutput(c, id, integer(c.r.Header.Get("Last-Event-ID"), after))
	}
	page, err := e.Executions.Output(c.ctx(), c.p, id, after, int(integer(c.query.Get("limit"), defaultOutputBytes)), wait)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, outputWire(page))
}

// streamOutput sends records as they come and at last the execution. The first
// page is asked for before the header is sent, so that a refusal is still an
// answer with a status.
func (e *edge) streamOutput(c *call, id remuda.ExecutionID, after int64) error {
	page, err := e.Executions.Output(c.ctx(), c.p, id, after, streamBytes, 0)
	if err != nil {
		return err
	}
	stream, err := httpapi.NewEventStream(c.w)
	if err != nil {
		return err
	}
	for {
		for _, rec := range page.Records {
			data, err := oneLine(recordWire(rec))
			if err != nil {
				return err
			}
			stream.Add("output", strconv.FormatInt(rec.Seq, 10), data)
			after = rec.Seq
		}
		if page.Ended {
			return e.endStream(c, stream, id)
		}
		if len(page.Records) == 0 {
			stream.Heartbeat()
		}
		if err := stream.Flush(); err != nil {
			return err // the reader has gone, or stands still
		}
		if page, err = e.awaitOutput(c.ctx(), c.p, id, after, heartbeat); err != nil {
			return err
		}
	}
}

func (e *edge) endStream(c *call, stream *httpapi.EventStream, id remuda.ExecutionID) error {
	ex, err := e.Executions.GetExecution(c.ctx(), c.p, id)
	if err != nil {
		return err
	}
	data, err := oneLine(executionWire(ex))
	if err != nil {
		return err
	}
	stream.Add("end", "", data)
	return stream.Flush()
}

// integer reads a number that was checked already.
func integer(s string, absent int64) int64 {
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return absent
	}
	return v
}
