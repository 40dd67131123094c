package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// readTimeout is how long a client may take to send a body.
const readTimeout = time.Minute

// Wrap puts around h what every edge needs: a request id, one line in the access
// log, panic recovery, security headers, a guard against requests that another
// site makes a browser send, deadlines for reading and writing, and a refusal of
// paths that are not in their clean form (the router would redirect those).
func Wrap(h http.Handler, o Options) (http.Handler, error) {
	guard := http.NewCrossOriginProtection()
	for _, origin := range o.TrustedOrigins {
		if err := guard.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("trust origin %q: %w", origin, err)
		}
	}
	log := orDiscard(o.Logger)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		x := &exchange{ResponseWriter: w, rc: http.NewResponseController(w), id: requestID(r.Header.Get("X-Request-Id"))}
		r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
		setCommonHeaders(w.Header(), x.id)
		if r.ContentLength != 0 {
			_ = x.rc.SetReadDeadline(start.Add(readTimeout)) // ended by BodyRead
		}
		defer func() { finish(x, r, o, log, start, recover()) }()
		if err := guard.Check(r); err != nil {
			o.refuse(x, r, &remuda.Error{Code: remuda.CodeForbidden, Message: "the request comes from another site", Cause: err.Error(), Remedy: "send it from the server's own origin, or add the origin to the trusted ones"})
			return
		}
		if err := checkCleanPath(r); err != nil {
			o.refuse(x, r, err)
			return
		}
		h.ServeHTTP(x, r)
	}), nil
}

// finish logs the exchange once and turns a panic into a problem.
func finish(x *exchange, r *http.Request, o Options, log *slog.Logger, start time.Time, panicked any) {
	aborted := panicked == any(http.ErrAbortHandler)
	if panicked != nil && !aborted {
		log.LogAttrs(r.Context(), slog.LevelError, "handler panicked", slog.String("request_id", x.id), slog.Any("panic", panicked), slog.String("stack", string(debug.Stack())))
		aborted = x.started()
		if !aborted {
			o.refuse(x, r, remuda.Internal("serving the request", fmt.Errorf("panic: %v", panicked)))
		}
	}
	if panicked == nil {
		x.sendWhole() // nobody waits for the log
	}
	level := slog.LevelInfo
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs,
		slog.String("request_id", x.id), slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", x.status),
		slog.Int64("bytes", x.bytes), slog.Int64("duration_us", time.Since(start).Microseconds()), slog.String("remote", r.RemoteAddr))
	if x.user != "" {
		attrs = append(attrs, slog.String("user", string(x.user)), slog.String("organization", string(x.org)))
	}
	if x.err != nil {
		attrs = append(attrs, slog.String("code", string(remuda.CodeOf(x.err))), slog.String("error", x.err.Error()))
	}
	if x.status >= 500 && !clientsDoing(x.err) {
		level = slog.LevelError
	}
	log.LogAttrs(r.Context(), level, "request", attrs...)
	if aborted {
		panic(http.ErrAbortHandler) // net/http closes the connection and logs nothing
	}
}

// clientsDoing reports whether an error is not the server's, whatever status an edge
// has for it: some vendors answer 500 for what is not there.
func clientsDoing(err error) bool {
	switch remuda.CodeOf(err) {
	case remuda.CodeInvalid, remuda.CodeNotFound, remuda.CodeConflict, remuda.CodePrecondition, remuda.CodeExhausted, remuda.CodeUnsupported:
		return true
	default:
		return false
	}
}

// Values of headers that never change. They are shared between responses and
// must not be appended to.
var (
	nosniff    = []string{"nosniff"}
	deny       = []string{"DENY"}
	noReferrer = []string{"no-referrer"}
	sameOrigin = []string{"same-origin"}
	nothing    = []string{"default-src 'none'; frame-ancestors 'none'"}
	noStore    = []string{"no-store"}
)

func setCommonHeaders(h http.Header, id string) {
	h["X-Request-Id"] = []string{id}
	h["X-Content-Type-Options"] = nosniff
	h["X-Frame-Options"] = deny
	h["Referrer-Policy"] = noReferrer
	h["Cross-Origin-Resource-Policy"] = sameOrigin
	h["Content-Security-Policy"] = nothing
	h["Cache-Control"] = noStore
}

// requestID takes the client's id when it is sane, else makes one.
func requestID(given string) string {
	if n := len(given); n >= 1 && n <= 64 && strings.IndexFunc(given, notInRequestID) < 0 {
		return given
	}
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // never fails
	return hex.EncodeToString(raw[:])
}

func notInRequestID(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-'
}

// checkCleanPath refuses what http.ServeMux would answer with a redirect: that
// loses the method of old clients and is no documented answer.
func checkCleanPath(r *http.Request) error {
	p := r.URL.EscapedPath()
	if strings.HasPrefix(p, "/") && !strings.Contains(p, "//") && !strings.Contains(p+"/", "/./") && !strings.Contains(p+"/", "/../") {
		return nil
	}
	return remuda.Invalid(remuda.FieldError{Field: "path", Message: "has an empty, \".\" or \"..\" segment; write the path without it"})
}
