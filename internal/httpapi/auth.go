package httpapi

import (
	"net/http"
	"strings"

	"github.com/remuda-run/remuda/internal/remuda"
)

// BearerToken returns the token of the Authorization header.
func BearerToken(h http.Header) (string, bool) {
	values := h["Authorization"]
	if len(values) != 1 || len(values[0]) < 8 || !strings.EqualFold(values[0][:7], "Bearer ") {
		return "", false
	}
	token := strings.TrimSpace(values[0][7:])
	return token, token != ""
}

// Challenge sets WWW-Authenticate and returns the error for a request without
// credentials that the operation takes.
func Challenge(h http.Header, basic bool) error {
	SetChallenge(h, basic)
	remedy := "send the header Authorization: Bearer TOKEN; POST /v1/tokens makes a token"
	if basic {
		remedy = "send a name and password (HTTP Basic) or a token (Authorization: Bearer)"
	}
	return &remuda.Error{Code: remuda.CodeUnauthenticated, Message: "the request says not who is asking", Cause: "the Authorization header is missing or of another kind", Remedy: remedy}
}

// SetChallenge names the credentials that are taken.
func SetChallenge(h http.Header, basic bool) {
	h.Set("WWW-Authenticate", `Bearer realm="remuda"`)
	if basic {
		h.Add("WWW-Authenticate", `Basic realm="remuda", charset="UTF-8"`)
	}
}
