package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/remuda-run/remuda/internal/remuda"
)

// CodeMethodNotAllowed is the code of a 405. Only the edge says it, so it is not
// one of remuda's.
const CodeMethodNotAllowed remuda.Code = "method_not_allowed"

// statuses is the one table from error code to HTTP status.
//
// 400 is a request that cannot be right. 422 is one that is well formed but
// names something that does not exist (see Reference) or that this machine
// cannot do. CodeCanceled is a 503: a client that went away reads nothing, so
// whoever reads it was cut off by a server that is stopping.
var statuses = map[remuda.Code]int{
	remuda.CodeInvalid:         http.StatusBadRequest,
	remuda.CodeUnauthenticated: http.StatusUnauthorized,
	remuda.CodeForbidden:       http.StatusForbidden,
	remuda.CodeNotFound:        http.StatusNotFound,
	CodeMethodNotAllowed:       http.StatusMethodNotAllowed,
	remuda.CodeConflict:        http.StatusConflict,
	remuda.CodePrecondition:    http.StatusPreconditionFailed,
	remuda.CodeTooLarge:        http.StatusRequestEntityTooLarge,
	remuda.CodeUnsupportedType: http.StatusUnsupportedMediaType,
	remuda.CodeExhausted:       http.StatusTooManyRequests,
	remuda.CodeDeadline:        http.StatusGatewayTimeout,
	remuda.CodeCanceled:        http.StatusServiceUnavailable,
	remuda.CodeUnavailable:     http.StatusServiceUnavailable,
	remuda.CodeUnsupported:     http.StatusUnprocessableEntity,
	remuda.CodeInternal:        http.StatusInternalServerError,
}

// defaultRetryAfter is what Retry-After says when the error gives no hint.
const defaultRetryAfter = 1

// Problem is an error on the wire, application/problem+json after RFC 9457.
type Problem struct {
	Type      string              `json:"type"`
	Title     string              `json:"title"`
	Status    int                 `json:"status"`
	Code      remuda.Code         `json:"code"`
	Cause     *string             `json:"cause"`
	Remedy    *string             `json:"remedy"`
	Fields    []remuda.FieldError `json:"fields"`
	Reason    remuda.Reason       `json:"reason,omitempty"`
	Object    string              `json:"object,omitempty"`
	RequestID string              `json:"request_id"`
}

// unresolved is a not_found error about something that the body or the query
// names, as opposed to the path.
type unresolved struct {
	err   *remuda.Error
	field string
}

func (u *unresolved) Error() string { return u.field + ": " + u.err.Error() }
func (u *unresolved) Unwrap() error { return u.err }

// Reference says that field, in the body or query, names what err did not find:
// the answer is then a 422 instead of a 404, which would be about the path.
// Other errors pass through.
func Reference(field string, err error) error {
	e, ok := errors.AsType[*remuda.Error](err)
	if !ok || e.Code != remuda.CodeNotFound {
		return err
	}
	return &unresolved{err: e, field: field}
}

// StatusOf returns the HTTP status for an error.
func StatusOf(err error) int {
	if _, ok := errors.AsType[*unresolved](err); ok {
		return http.StatusUnprocessableEntity
	}
	status, ok := statuses[publicError(err).Code]
	if !ok {
		return http.StatusInternalServerError
	}
	return status
}

// publicError returns the Error in err's chain, or one that says no more than
// may be said about an error of unknown origin.
func publicError(err error) *remuda.Error {
	if e, ok := errors.AsType[*remuda.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(e.Limit)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &remuda.Error{Code: remuda.CodeCanceled, Message: "the request was canceled", Cause: "the client went away or the server is stopping", Remedy: "send the request again", Err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &remuda.Error{Code: remuda.CodeDeadline, Message: "the request took too long", Remedy: "send the request again, or later", Err: err}
	}
	return remuda.Internal("serving the request", err)
}

// NewProblem makes the wire form of an error.
func NewProblem(err error, requestID string) Problem {
	e := publicError(err)
	p := Problem{
		Type: "/docs#problem-" + string(e.Code), Title: e.Message, Status: StatusOf(err), Code: e.Code,
		Cause: optional(e.Cause), Remedy: optional(e.Remedy), Fields: e.Fields, Reason: e.Reason, Object: e.Object, RequestID: requestID,
	}
	if u, ok := errors.AsType[*unresolved](err); ok && len(p.Fields) == 0 {
		p.Fields = []remuda.FieldError{{Field: u.field, Message: e.Message}}
	}
	if p.Fields == nil {
		p.Fields = []remuda.FieldError{}
	}
	return p
}

// WriteError answers with err as a problem document.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	p := NewProblem(err, RequestID(r.Context()))
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p); err != nil { // strings and numbers only; cannot fail
		panic(err)
	}
	if h := w.Header(); p.Status == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" && !exchangeOf(r.Context()).started() {
		h.Set("WWW-Authenticate", `Bearer realm="remuda"`)
	}
	WriteRefusal(w, r, err, Refusal{Status: p.Status, ContentType: "application/problem+json", Body: body.Bytes()})
}

// Refusal is an error in the form of an edge.
type Refusal struct {
	Status      int
	ContentType string
	Body        []byte
}

// WriteRefusal answers with err in an edge's own form. The private cause goes to
// the access log only. After the first byte of an answer it is too late for a
// status: the connection is then cut, so that the client cannot take a part for the
// whole.
func WriteRefusal(w http.ResponseWriter, r *http.Request, err error, refusal Refusal) {
	x := exchangeOf(r.Context())
	x.err = err
	if x.started() {
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	// What was meant for a success does not hold for a refusal.
	for _, name := range []string{"Content-Disposition", "Last-Modified", "Location", "ETag"} {
		h.Del(name)
	}
	if refusal.Status == http.StatusTooManyRequests || refusal.Status == http.StatusServiceUnavailable {
		seconds := publicError(err).RetryAfterSeconds
		if seconds <= 0 {
			seconds = defaultRetryAfter
		}
		h.Set("Retry-After", strconv.Itoa(seconds))
	}
	h.Set("Content-Type", refusal.ContentType)
	h.Set("Content-Length", strconv.Itoa(len(refusal.Body)))
	w.WriteHeader(refusal.Status)
	_, _ = w.Write(refusal.Body) // a client that went away is not an error of ours
}

// PublicError is the Error in err's chain, or one that says no more than may be
// said about an error of unknown origin, for edges with a form of their own.
func PublicError(err error) *remuda.Error { return publicError(err) }

func tooLarge(limit int64) *remuda.Error {
	return &remuda.Error{
		Code: remuda.CodeTooLarge, Message: "the body is too large", Cause: "it has more than " + strconv.FormatInt(limit, 10) + " bytes",
		Remedy: "send less; large files go through the files of a runspace",
	}
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
