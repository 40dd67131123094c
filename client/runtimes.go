package client

import (
	"context"
	"net/http"
	"net/url"
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

// DeleteRuntime deletes a runtime.
func (c *Client) DeleteRuntime(ctx context.Context, ref string) error {
	return c.remove(ctx, at("runtimes", ref))
}

// ListVersions lists the interpreters of a language, "" of all.
func (c *Client) ListVersions(ctx context.Context, language Language) (InterpreterList, error) {
	var q url.Values
	if language != "" {
		q = url.Values{"language": {string(language)}}
	}
	return call[InterpreterList](ctx, c, http.MethodGet, "/v1/versions", q, nil)
}
