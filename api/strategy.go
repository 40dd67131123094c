package api

import _ "embed"

//go:embed compat/strategy.yaml
var strategy []byte

// Strategy returns the OpenAPI document of what the Strategy door does. The caller
// must not change it.
func Strategy() []byte { return strategy }
