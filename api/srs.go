package api

import _ "embed"

//go:embed compat/srs.yaml
var srs []byte

// SRS returns the OpenAPI document of what the SRS door does. The caller must not
// change it.
func SRS() []byte { return srs }
