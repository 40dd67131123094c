package srs

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

// The vendor's codes (compat/srs.md A6).
const (
	codeUnknown          = 500
	codeUnauthenticated  = 401
	codeScriptRefused    = 1025
	codeCancel           = 1027
	codeNoScript         = 1040
	codeHistory          = 1045
	codeOutput           = 1146
	codeStream           = 1147
	codeBusy             = 1310
	codeTooManyRunspaces = 2020
	codeNoRunspace       = 2030
	codeNotReady         = 2031
	codeRunspaceList     = 2035
	codeRunspaceDelete   = 2040
	codeTooManyConsoles  = 2060
	codeNoConsole        = 2070
	codeConsoleList      = 2075
	codeConsoleDelete    = 2080
	codeNoTemplate       = 4010
	codeLogout           = 5010
)

// statuses are what an error of ours becomes. What the vendor's server has no status
// for is its 500, with the code of the operation, so that its clients know it.
var statuses = map[remuda.Code]int{
	remuda.CodeInvalid:           http.StatusBadRequest,
	remuda.CodeUnauthenticated:   http.StatusUnauthorized,
	remuda.CodeForbidden:         http.StatusForbidden,
	remuda.CodeNotFound:          http.StatusNotFound,
	httpapi.CodeMethodNotAllowed: http.StatusMethodNotAllowed,
	remuda.CodeConflict:          http.StatusInternalServerError,
	remuda.CodePrecondition:      http.StatusInternalServerError,
	remuda.CodeTooLarge:          http.StatusRequestEntityTooLarge,
	remuda.CodeUnsupportedType:   http.StatusUnsupportedMediaType,
	remuda.CodeExhausted:         http.StatusInternalServerError,
	remuda.CodeDeadline:          http.StatusInternalServerError,
	remuda.CodeCanceled:          http.StatusServiceUnavailable,
	remuda.CodeUnavailable:       http.StatusServiceUnavailable,
	remuda.CodeUnsupported:       http.StatusInternalServerError,
	remuda.CodeInternal:          http.StatusInternalServerError,
}

// special is an error that is told with a status, a code and a message of its own.
type special struct {
	error

	status, code int
	message      string
	details      string // "" is what the error says
}

func (s special) Unwrap() error { return s.error }

// Messages that the vendor's tests compare (compat/srs.md A6).

func notFound(code int, message string) error {
	return special{error: &remuda.Error{
		Code: remuda.CodeNotFound, Message: message, Remedy: "check the id; it may have ended or been deleted, or be another user's",
	}, status: http.StatusNotFound, code: code, message: message}
}

func noRunspace(id string) error {
	return notFound(codeNoRunspace, "Runspace with id '"+clip(id)+"' not found")
}

func noScript(id string) error {
	return notFound(codeNoScript, "Script with id '"+clip(id)+"' not found")
}

func noConsole(id string) error {
	return notFound(codeNoConsole, "Web console with id '"+clip(id)+"' not found")
}

func noTemplate(id string) error {
	return special{error: &remuda.Error{
		Code: remuda.CodeNotFound, Message: "no such template", Remedy: "GET /api/argument-scripts/templates lists what there is",
	}, status: http.StatusNotFound, code: codeNoTemplate, message: "Argument transformation script not found for '" + clip(id) + "'"}
}

// runRefused says why a runspace does not run a script now. One that is on its way to
// its end is not there any more.
func runRefused(err error, id string) error {
	e := httpapi.PublicError(err)
	switch {
	case e.Reason == remuda.ReasonRunspaceBusy:
		return special{
			error: err, status: http.StatusInternalServerError, code: codeBusy, message: "Another script with id '" + remuda.UUID(e.Object) + "' is running",
			details: "A runspace runs one script at a time. Wait for that one or cancel it, then send the request again.",
		}
	case e.Reason != remuda.ReasonRunspaceNotReady:
		return err
	case e.Object == string(remuda.RunspaceCreating) || e.Object == string(remuda.RunspaceError):
		state := strings.ToUpper(e.Object[:1]) + e.Object[1:]
		return special{error: err, status: http.StatusInternalServerError, code: codeNotReady, message: "Runspace '" + clip(id) + "' is not ready to run script. Runspace state is: " + state}
	}
	return noRunspace(id)
}

// noSession says that a key is none.
func noSession(err error) error {
	return special{
		error: err, status: http.StatusUnauthorized, code: codeUnauthenticated, message: "The request has no key of a session that is open",
		details: "The header " + headerKey + " is missing, or its session has ended. Log in: POST /api/auth/login.",
	}
}

// tooManyGuesses says of a login that it was refused unseen.
func tooManyGuesses(err error) error {
	return special{error: err, status: http.StatusTooManyRequests, code: http.StatusTooManyRequests, message: httpapi.PublicError(err).Message}
}

// failure is an error with the vendor's code of the operation that failed.
type failure struct {
	error

	code int
}

func (f failure) Unwrap() error { return f.error }

// failed notes which code an operation fails with.
func failed(err error, code int) error {
	if err == nil {
		return nil
	}
	return failure{err, code}
}

// codesOfReasons are codes of refusals that no id belongs to.
var codesOfReasons = map[remuda.Reason]struct {
	code    int
	message string
}{
	remuda.ReasonTooManyRunspaces: {codeTooManyRunspaces, "Maximum number of running runspaces is reached"},
}

// codeOfRunspace is the code in the error of a runspace.
func codeOfRunspace(code remuda.Code) int {
	if code == remuda.CodeUnauthenticated {
		return codeUnauthenticated
	}
	return codeUnknown
}

func clip(s string) string {
	const limit = 100
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}

// answer is an error on the wire.
type answer struct {
	status int
	body   errorWire
	fields []remuda.FieldError // of 400 and 415
}

// answerOf finds the form of an error.
func answerOf(err error) answer {
	e := httpapi.PublicError(err)
	status, ok := statuses[e.Code]
	if !ok {
		status = http.StatusInternalServerError
	}
	a := answer{status: status, body: errorWire{Code: status, Message: theirIDs(e.Message), Details: theirIDs(detailsOf(e))}, fields: e.Fields}
	if len(e.Fields) > 0 {
		a.body.Message = fieldsText(e.Fields)
	}
	if f, ok := errors.AsType[failure](err); ok && status >= http.StatusInternalServerError {
		a.body.Code = f.code
	}
	if known, ok := codesOfReasons[e.Reason]; ok {
		a.status, a.body.Code, a.body.Message = http.StatusInternalServerError, known.code, known.message
	}
	if s, ok := errors.AsType[special](err); ok {
		a.status, a.body.Code, a.body.Message = s.status, s.code, s.message
		if s.details != "" {
			a.body.Details = s.details
		}
	}
	return a
}

func messageOf(err error) string { return answerOf(err).body.Message }

// fieldsText says what is wrong with every field.
func fieldsText(fields []remuda.FieldError) string {
	texts := make([]string, len(fields))
	for i, f := range fields {
		texts[i] = strings.TrimSpace(theirName(f.Field) + " " + f.Message)
		if f.Field == "" {
			texts[i] = f.Message
		}
	}
	return strings.Join(texts, "; ")
}

// ourIDs are ids of ours in a text.
var ourIDs = regexp.MustCompile(`\b(ex|rs)_[0-9a-z]{36}\b`)

// theirIDs puts the ids of this wire in the place of ours.
func theirIDs(text string) string {
	return ourIDs.ReplaceAllStringFunc(text, func(id string) string {
		uuid := remuda.UUID(id)
		switch {
		case uuid == "":
			return id
		case strings.HasPrefix(id, remuda.PrefixRunspace+"_"):
			return runspacePrefix + uuid
		}
		return uuid
	})
}

// detailsOf says why, and what to do.
func detailsOf(e *remuda.Error) string {
	var parts []string
	for _, part := range []string{e.Cause, e.Remedy} {
		if part != "" {
			parts = append(parts, strings.ToUpper(part[:1])+part[1:]+".")
		}
	}
	return strings.Join(parts, " ")
}

// refuse answers with an error in the vendor's form. Its private cause is in the
// access log, beside the request's id.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	a := answerOf(err)
	if seconds := httpapi.PublicError(err).RetryAfterSeconds; seconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
	var body any = a.body
	if a.status == http.StatusBadRequest || a.status == http.StatusUnsupportedMediaType {
		body = problemOf(a, httpapi.RequestID(r.Context()))
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil { // texts and numbers only; cannot fail
		panic(err)
	}
	httpapi.WriteRefusal(w, r, err, httpapi.Refusal{Status: a.status, ContentType: "application/json", Body: out.Bytes()})
}

// problemOf is what a framework answers that finds a request wrong before the
// vendor's own code sees it.
func problemOf(a answer, request string) problemWire {
	p := problemWire{
		Type: "https://tools.ietf.org/html/rfc7231#section-6.5.1", Title: "One or more validation errors occurred.", Status: a.status,
		TraceID: request, Errors: map[string][]string{}, errorWire: a.body,
	}
	if a.status == http.StatusUnsupportedMediaType {
		p.Type, p.Title = "https://tools.ietf.org/html/rfc7231#section-6.5.13", "Unsupported Media Type"
	}
	for _, f := range a.fields {
		field := theirName(f.Field)
		p.Errors[field] = append(p.Errors[field], f.Message)
	}
	return p
}

// fieldNames are the vendor's names of fields that the services name.
var fieldNames = map[string]string{
	"runspace": "runspace_id", "label": "name", "parameters": "script_parameters", "values": "template_placeholder_value_list", "": "$",
	"max_runspaces": "max_number_of_runspaces", "idle_timeout_s": "max_runspace_idle_time_minutes", "active_timeout_s": "max_runspace_active_time_minutes",
	"keep_executions": "max_number_of_scripts_per_user", "keep_for_s": "no_older_than_days",
}

func theirName(field string) string {
	head, rest := field, ""
	if i := strings.IndexAny(field, ".["); i >= 0 {
		head, rest = field[:i], field[i:]
	}
	if name, ok := fieldNames[head]; ok {
		return name + rest
	}
	return field
}

// notThere answers for paths and methods that the door does not have.
func notThere(w http.ResponseWriter, r *http.Request, allowed []string) {
	if len(allowed) == 0 {
		refuse(w, r, &remuda.Error{Code: remuda.CodeNotFound, Message: "there is nothing at this path", Remedy: "see /swagger for what there is"})
		return
	}
	refuse(w, r, &remuda.Error{Code: httpapi.CodeMethodNotAllowed, Message: "the method is not allowed here", Remedy: "use one of " + strings.Join(allowed, ", ")})
}
