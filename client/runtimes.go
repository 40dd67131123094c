package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/remuda-run/remuda/api"
)

// CreateRuntime defines a runtime.
func (c *Client) CreateRuntime(ctx context.Context, in RuntimeCreate) (Runtime, error) {
	return call[Runtime](ctx, c, http.MethodPost, "/v1/runtimes", nil, in)
}

// ListRuntimes returns a page of runtimes, newest first; name "" is all.
func (c *Client) ListRuntimes(ctx context.Context, name string, p Page) (RuntimeList, error) {
	q := p.query()
	if name != "" {
		q.Set("name", name)
	}
	return call[RuntimeList](ctx, c, http.MethodGet, "/v1/runtimes", q, nil)
}

// GetRuntime returns a runtime by id or name.
func (c *Client) GetRuntime(ctx context.Context, ref string) (Runtime, error) {
	return call[Runtime](ctx, c, http.MethodGet, at("runtimes", ref), nil, nil)
}

// UpdateRuntime changes the fields that are given and makes a new generation.
func (c *Client) UpdateRuntime(ctx context.Context, ref string, in RuntimeUpdate) (Runtime, error) {
	return call[Runtime](ctx, c, http.MethodPatch, at("runtimes", ref), nil, in)
}

// WaitRuntime returns a runtime when no build of it goes on, however long that
// takes.
func (c *Client) WaitRuntime(ctx context.Context, ref string) (Runtime, error) {
	for {
		rt, err := call[Runtime](ctx, c, http.MethodGet, at("runtimes", ref), waitQuery(time.Minute), nil)
		if err != nil || rt.Status != api.RuntimeStatusBusy {
			return rt, err
		}
	}
}

// Deletion says what becomes of what runs on a runtime that is deleted. The zero
// value refuses while runspaces are open, and lets executions go on to their end.
type Deletion struct {
	RefuseIfBusy bool          // refuse it while anything runs
	Drain        time.Duration // let it go on for so long, and then end it; at most five minutes
}

// DeleteRuntime deletes a runtime that no open runspace uses.
func (c *Client) DeleteRuntime(ctx context.Context, ref string) error {
	return c.DeleteRuntimeHow(ctx, ref, Deletion{})
}

// DeleteRuntimeHow deletes a runtime.
func (c *Client) DeleteRuntimeHow(ctx context.Context, ref string, how Deletion) error {
	q := url.Values{}
	if how.RefuseIfBusy {
		q.Set("refuse_if_busy", "true")
	}
	if how.Drain > 0 {
		q.Set("drain", how.Drain.String())
	}
	return c.removeWith(ctx, at("runtimes", ref), q)
}

// RebuildRuntime makes a new generation of the same definition; with refresh the
// package index is asked again.
func (c *Client) RebuildRuntime(ctx context.Context, ref string, refresh bool) (Runtime, error) {
	return call[Runtime](ctx, c, http.MethodPost, at("runtimes", ref, "rebuild"), nil, RuntimeRebuild{Refresh: &refresh})
}

// ListBuilds returns a page of a runtime's builds, newest first.
func (c *Client) ListBuilds(ctx context.Context, ref string, p Page) (BuildList, error) {
	return call[BuildList](ctx, c, http.MethodGet, at("runtimes", ref, "builds"), p.query(), nil)
}

// GetBuild returns the build of a generation.
func (c *Client) GetBuild(ctx context.Context, ref string, generation int) (Build, error) {
	return call[Build](ctx, c, http.MethodGet, at("runtimes", ref, "builds", strconv.Itoa(generation)), nil, nil)
}

// GetBuildLog returns the records of a build's log after a number, as GetOutput
// does those of an execution.
func (c *Client) GetBuildLog(ctx context.Context, ref string, generation int, after int64, limit int, wait time.Duration) (OutputPage, error) {
	return call[OutputPage](ctx, c, http.MethodGet, buildLog(ref, generation), pageOfOutput(after, limit, wait), nil)
}

func buildLog(ref string, generation int) string {
	return at("runtimes", ref, "builds", strconv.Itoa(generation), "log")
}

// FollowBuild gives each record of a build's log after a number to sink, and the
// build to changed whenever a package of it has changed (either may be nil), and
// returns the build once it has ended. A lost connection is made again by itself.
// An error of sink or changed ends it.
func (c *Client) FollowBuild(ctx context.Context, ref string, generation int, after int64, sink func(OutputRecord) error, changed func(Build) error) (Build, error) {
	if sink == nil {
		sink = func(OutputRecord) error { return nil }
	}
	other := func(name string, data []byte) error {
		if name != "build" || changed == nil {
			return nil
		}
		var b Build
		if err := json.Unmarshal(data, &b); err != nil {
			return fmt.Errorf("decode a build: %w", err)
		}
		return changed(b)
	}
	return follow[Build](ctx, c, buildLog(ref, generation), &records{after: after, sink: sink, other: other})
}

// ListVersions lists the interpreters of a language, "" of all.
func (c *Client) ListVersions(ctx context.Context, language Language) (InterpreterList, error) {
	var q url.Values
	if language != "" {
		q = url.Values{"language": {string(language)}}
	}
	return call[InterpreterList](ctx, c, http.MethodGet, "/v1/versions", q, nil)
}
