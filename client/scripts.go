package client

import (
	"context"
	"net/http"
)

// CreateScript stores a script.
func (c *Client) CreateScript(ctx context.Context, in ScriptCreate) (Script, error) {
	return call[Script](ctx, c, http.MethodPost, "/v1/scripts", nil, in)
}

// ListScripts returns a page of stored scripts without contents and variables, newest
// first; name "" is all.
func (c *Client) ListScripts(ctx context.Context, name string, p Page) (ScriptList, error) {
	q := p.query()
	if name != "" {
		q.Set("name", name)
	}
	return call[ScriptList](ctx, c, http.MethodGet, "/v1/scripts", q, nil)
}

// GetScript returns a stored script by id. The values of its secrets are not in it.
func (c *Client) GetScript(ctx context.Context, id string) (Script, error) {
	return call[Script](ctx, c, http.MethodGet, at("scripts", id), nil, nil)
}

// UpdateScript changes the fields of a stored script that are given.
func (c *Client) UpdateScript(ctx context.Context, id string, in ScriptUpdate) (Script, error) {
	return call[Script](ctx, c, http.MethodPatch, at("scripts", id), nil, in)
}

// DeleteScript deletes a stored script. What it has run stays.
func (c *Client) DeleteScript(ctx context.Context, id string) error {
	return c.remove(ctx, at("scripts", id))
}

// ListArgumentTemplates lists every template for parameter scripts.
func (c *Client) ListArgumentTemplates(ctx context.Context) (ArgumentTemplateList, error) {
	return call[ArgumentTemplateList](ctx, c, http.MethodGet, "/v1/argument-templates", nil, nil)
}

// GetArgumentTemplate returns a template.
func (c *Client) GetArgumentTemplate(ctx context.Context, id string) (ArgumentTemplate, error) {
	return call[ArgumentTemplate](ctx, c, http.MethodGet, at("argument-templates", id), nil, nil)
}

// FillArgumentTemplate makes a parameter script of a template: one argument of each
// map, which has the values of every placeholder. Values are quoted, they are never
// code.
func (c *Client) FillArgumentTemplate(ctx context.Context, id string, values ...map[string][]string) (string, error) {
	s, err := call[ArgumentScript](ctx, c, http.MethodPost, at("argument-templates", id, "fill"), nil, ArgumentTemplateFill{Values: values})
	return s.Script, err
}
