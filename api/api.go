// Package api is the native API as a document and as Go types: openapi.yaml is
// the source of truth, types.gen.go is generated from its schemas.
//
// It holds no behaviour. The server (internal/native) checks requests against
// the document, the public client (client) and the server share the types.
// After a change of openapi.yaml run go generate in this directory.
//
// Only types are generated, not oapi-codegen's strict server: that decodes a
// body before anyone has looked at it, so that one wrong field hides the others
// and large bodies are decoded twice.
package api

import _ "embed"

//go:generate ../.bin/oapi-codegen -config oapi-codegen.yaml openapi.yaml

//go:embed openapi.yaml
var document []byte

// YAML returns the OpenAPI document. The caller must not change it.
func YAML() []byte { return document }
