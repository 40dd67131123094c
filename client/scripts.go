package client

import (
	"context"
	"net/http"
)

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
