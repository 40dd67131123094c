package client

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/remuda-run/remuda/api"
)

// Output streams an execution's records after a number (0: from the beginning)
// as they come, each exactly once. A lost connection is made again by itself.
// The sequence ends after the last record; an error ends it too.
func (c *Client) Output(ctx context.Context, id string, after int64) iter.Seq2[OutputRecord, error] {
	return func(yield func(OutputRecord, error) bool) {
		_, err := c.Follow(ctx, id, after, func(r OutputRecord) error {
			if !yield(r, nil) {
				return errStopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(OutputRecord{}, err)
		}
	}
}

var errStopped = errors.New("the reader has seen enough")

// Follow gives each record after a number to sink, as Output does, and returns
// the execution once it has ended. An error of sink ends it.
func (c *Client) Follow(ctx context.Context, id string, after int64, sink func(OutputRecord) error) (Execution, error) {
	return follow[Execution](ctx, c, at("executions", id, "output"), &records{after: after, sink: sink})
}

// Run runs a script once, writes its output to stdout and stderr as it comes
// (either may be nil) and returns the ended execution. If ctx ends first the
// execution is canceled.
func (c *Client) Run(ctx context.Context, in ExecutionCreate, stdout, stderr io.Writer) (Execution, error) {
	ex, err := c.CreateExecution(ctx, in, 0)
	if err != nil {
		return Execution{}, err
	}
	end, err := c.Follow(ctx, ex.Id, 0, func(r OutputRecord) error {
		var w io.Writer
		switch r.Stream {
		case api.OutputRecordStreamStdout:
			w = stdout
		case api.OutputRecordStreamStderr:
			w = stderr
		default: // a message or an object, for FollowStream and GetObjects
		}
		if w == nil {
			return nil
		}
		_, err := w.Write(Bytes(r))
		return err
	})
	if err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_, _ = c.CancelExecution(stop, ex.Id) // it may have ended; err says what matters
		return ex, err
	}
	return end, nil
}
