package openapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/remuda-run/remuda/internal/remuda"
)

// CheckRequest holds what surrounds the body of a request against the operation:
// path parameters, query and headers. It returns the query as it was parsed.
func (o *Operation) CheckRequest(r *http.Request) (url.Values, []remuda.FieldError) {
	var fields []remuda.FieldError
	for _, p := range o.Parameters {
		switch p.In {
		case "path":
			fields = append(fields, CheckText(p.Schema, p.Name, r.PathValue(p.Name))...)
		case "header":
			values := r.Header.Values(p.Name)
			if len(values) > 1 {
				fields = append(fields, remuda.FieldError{Field: p.Name, Message: "is given more than once"})
			}
			if len(values) == 1 {
				fields = append(fields, CheckText(p.Schema, p.Name, values[0])...)
			}
		}
	}
	query, more := o.checkQuery(r.URL.RawQuery)
	return query, append(fields, more...)
}

func (o *Operation) checkQuery(raw string) (url.Values, []remuda.FieldError) {
	if raw == "" {
		return nil, nil
	}
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, []remuda.FieldError{{Field: "", Message: "the query of the URL cannot be read: " + shown(err.Error())}}
	}
	var fields []remuda.FieldError
	for name, values := range query {
		p := o.query[name]
		switch {
		case p == nil:
			fields = append(fields, remuda.FieldError{Field: shown(strings.ToValidUTF8(name, "?")), Message: "is not a parameter of this operation" + o.known()})
		case len(values) > 1:
			fields = append(fields, remuda.FieldError{Field: name, Message: "is given more than once"})
		default:
			fields = append(fields, CheckText(p.Schema, name, values[0])...)
		}
	}
	// The order of a map is not one to show.
	slices.SortFunc(fields, func(a, b remuda.FieldError) int { return strings.Compare(a.Field, b.Field) })
	if len(fields) > maxFields {
		fields = fields[:maxFields]
	}
	return query, fields
}

func (o *Operation) known() string {
	var known []string
	for _, p := range o.Parameters {
		if p.In == "query" {
			known = append(known, p.Name)
		}
	}
	if len(known) == 0 {
		return "; it takes none"
	}
	return "; known are " + strings.Join(known, ", ")
}
