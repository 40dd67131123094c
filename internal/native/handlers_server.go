package native

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
)

func (e *edge) healthz(c *call) error {
	return c.reply(http.StatusOK, api.Health{Status: api.HealthStatusOk, Version: e.options.Version})
}

func (e *edge) readyz(c *call) error {
	if e.options.Ready != nil {
		if err := e.options.Ready(c.ctx()); err != nil {
			return unready(err)
		}
	}
	return e.healthz(c)
}

// unready makes a 503 of whatever keeps the server from serving.
func unready(err error) error {
	out := &remuda.Error{Code: remuda.CodeUnavailable, Message: "the server is not ready", Remedy: "try again, or look into the server's log", Err: err}
	if e, ok := errors.AsType[*remuda.Error](err); ok {
		out.Cause = e.Message // the public half
	}
	return out
}

func (e *edge) metrics(c *call) error {
	if !e.options.MetricsOpen {
		if err := authz.Check(c.p, authz.MetricsRead, c.p.Organization); err != nil {
			return err
		}
	}
	e.options.Metrics.ServeHTTP(c.w, c.r)
	return nil
}

func (e *edge) openapiJSON(c *call) error {
	return e.page(c, func(p pages) page { return p.json })
}

func (e *edge) openapiYAML(c *call) error {
	return e.page(c, func(p pages) page { return p.yaml })
}

func (e *edge) docs(c *call) error {
	return e.page(c, func(p pages) page { return p.html })
}

// page answers with a text that does not change while the server runs.
func (e *edge) page(c *call, pick func(pages) page) error {
	made, err := e.pages()
	if err != nil {
		return remuda.Internal("making the documentation", err)
	}
	p := pick(made)
	h := c.w.Header()
	h.Set("ETag", p.etag)
	h.Set("Cache-Control", "no-cache")
	if p.policy != "" {
		h.Set("Content-Security-Policy", p.policy)
	}
	if c.r.Header.Get("If-None-Match") == p.etag {
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", p.kind)
	h.Set("Content-Length", strconv.Itoa(len(p.body)))
	c.w.WriteHeader(http.StatusOK)
	_, _ = c.w.Write(p.body) // a client that went away is not an error of ours
	return nil
}
