package srs

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strconv"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/httpapi/openapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

// What clients compare.
const (
	productName = "Script Runtime Service for vSphere"
	apiVersion  = "1.0.0"
)

func (e *edge) about(c *call) error {
	return c.ok(aboutWire{Name: productName, Vendor: "Remuda", Version: e.options.HTTP.Version, APIVersion: apiVersion})
}

//go:embed swagger.html
var swaggerTemplate string

//go:embed swagger.css
var swaggerStyle string

// pages are the two forms of the document, made once.
type pages struct{ json, html []byte }

func renderPages() (p pages, err error) {
	doc, err := document()
	if err != nil {
		return p, err
	}
	if p.json, err = openapi.JSON(api.SRS()); err != nil {
		return p, err
	}
	tmpl, err := template.New("swagger").Parse(swaggerTemplate)
	if err != nil {
		return p, err
	}
	var html bytes.Buffer
	err = tmpl.Execute(&html, struct {
		*openapi.Document
		Style template.CSS
	}{doc, template.CSS(swaggerStyle)}) //nolint:gosec // our own embedded file
	p.html = html.Bytes()
	return p, err
}

func (e *edge) swagger(c *call) error {
	p, err := e.pages()
	if err != nil {
		return remuda.Internal("making the document", err)
	}
	return c.page("application/json", p.json)
}

// swaggerPage shows the document. It loads nothing, and runs nothing.
func (e *edge) swaggerPage(c *call) error {
	p, err := e.pages()
	if err != nil {
		return remuda.Internal("making the page of the document", err)
	}
	sum := sha256.Sum256([]byte(swaggerStyle))
	c.W.Header().Set("Content-Security-Policy",
		"default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	return c.page("text/html; charset=utf-8", p.html)
}

func (c *call) page(kind string, body []byte) error {
	h := c.W.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.W.WriteHeader(http.StatusOK)
	_, _ = c.W.Write(body) // a client that went away is not an error of ours
	return nil
}
