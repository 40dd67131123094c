package httpapi

import (
	"net/http"
	"strings"

	"github.com/remuda-run/remuda/internal/remuda"
)

// NotFound answers for every path and method that mux does not have, as a
// problem: 405 with Allow when the path has other methods, else 404. Register
// it as the pattern "/", and as every other pattern without a method.
func NotFound(mux *http.ServeMux) http.Handler {
	return NotThere(mux, func(w http.ResponseWriter, r *http.Request, allowed []string) {
		if len(allowed) == 0 {
			WriteError(w, r, &remuda.Error{Code: remuda.CodeNotFound, Message: "there is nothing at this path", Remedy: "see /docs for what there is"})
			return
		}
		WriteError(w, r, &remuda.Error{Code: CodeMethodNotAllowed, Message: "the method " + clip(r.Method) + " is not allowed here", Remedy: "use one of " + strings.Join(allowed, ", ")})
	})
}

// NotThere is NotFound for edges with errors of their own form: answer gets the
// methods that the path has, which are in the header Allow already.
func NotThere(mux *http.ServeMux, answer func(w http.ResponseWriter, r *http.Request, allowed []string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		allowed := AllowedMethods(mux, r)
		if len(allowed) > 0 {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
		}
		answer(w, r, allowed)
	})
}

// AllowedMethods lists the methods for which mux has a pattern of the request's
// path.
func AllowedMethods(mux *http.ServeMux, r *http.Request) []string {
	var allowed []string
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		probe := *r
		probe.Method = method
		if _, pattern := mux.Handler(&probe); strings.Contains(pattern, " ") {
			allowed = append(allowed, method)
		}
	}
	return allowed
}
