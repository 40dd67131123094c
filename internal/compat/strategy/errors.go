package strategy

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

// The vendor's codes that this door says.
const (
	codeGeneral         = "ERR001"
	codeLogin           = "ERR003"
	codeNotFound        = "ERR004"
	codeInvalid         = "ERR006"
	codeMissing         = "ERR007"
	codeSession         = "ERR009"
	codeUnsupported     = "ERR010"
	codePrivilege       = "ERR014"
	codeExists          = "ERR015"
	codeUnavailable     = "ERR016"
	codePermission      = "ERR017"
	messageNoPath       = "HTTP 404 Not Found"          // clients take it for "not in this version"
	messageNoMethod     = "HTTP 405 Method Not Allowed" // likewise
	messageLogin        = "Login failed"
	messageSession      = "The user's session has expired, please reauthenticate"
	messageInvalidInput = "Invalid input"
)

// answer is what an error becomes.
type answer struct {
	status int
	code   string
}

// answers is the one table from our code to the vendor's.
var answers = map[remuda.Code]answer{
	remuda.CodeInvalid:           {http.StatusBadRequest, codeInvalid},
	remuda.CodeUnauthenticated:   {http.StatusUnauthorized, codeSession},
	remuda.CodeForbidden:         {http.StatusForbidden, codePrivilege},
	remuda.CodeNotFound:          {http.StatusNotFound, codeNotFound},
	httpapi.CodeMethodNotAllowed: {http.StatusMethodNotAllowed, codeGeneral},
	remuda.CodeConflict:          {http.StatusConflict, codeGeneral},
	remuda.CodePrecondition:      {http.StatusConflict, codeGeneral},
	remuda.CodeTooLarge:          {http.StatusRequestEntityTooLarge, codeInvalid},
	remuda.CodeUnsupportedType:   {http.StatusBadRequest, codeInvalid},
	remuda.CodeExhausted:         {http.StatusTooManyRequests, codeUnavailable},
	remuda.CodeDeadline:          {http.StatusServiceUnavailable, codeUnavailable},
	remuda.CodeCanceled:          {http.StatusServiceUnavailable, codeUnavailable},
	remuda.CodeUnavailable:       {http.StatusServiceUnavailable, codeUnavailable},
	remuda.CodeUnsupported:       {http.StatusBadRequest, codeUnsupported},
	remuda.CodeInternal:          {http.StatusInternalServerError, codeGeneral},
}

// special is an error that is told with a code of the vendor's that the table does
// not have for it.
type special struct {
	error

	code string
}

func (s special) Unwrap() error { return s.error }

// taken says of a conflict that it is about a name.
func taken(err error) error {
	if remuda.CodeOf(err) == remuda.CodeConflict {
		return special{err, codeExists}
	}
	return err
}

// loginFailed says of credentials that were refused that they were those of a login.
func loginFailed(err error) error {
	if remuda.CodeOf(err) == remuda.CodeUnauthenticated {
		return special{err, codeLogin}
	}
	return err
}

func missing(field string) error {
	return remuda.Invalid(remuda.FieldError{Field: field, Message: "is required"})
}

// answerOf finds an error's place in the table.
func answerOf(err error) answer {
	e := httpapi.PublicError(err)
	a, ok := answers[e.Code]
	if !ok {
		a = answers[remuda.CodeInternal]
	}
	if e.Code == remuda.CodeInvalid && len(e.Fields) > 0 && allMissing(e.Fields) {
		a.code = codeMissing
	}
	if s, ok := errors.AsType[special](err); ok {
		a.code = s.code
	}
	return a
}

func allMissing(fields []remuda.FieldError) bool {
	for _, f := range fields {
		if f.Message != "is required" {
			return false
		}
	}
	return true
}

// messageOf is an error in one text: what happened, why and what to do.
func messageOf(err error, code string) string {
	e := httpapi.PublicError(err)
	switch {
	case code == codeLogin:
		return messageLogin
	case e.Code == remuda.CodeInvalid && len(e.Fields) > 0:
		return fieldsText(e.Fields)
	}
	parts := []string{e.Message}
	if e.Cause != "" {
		parts = append(parts, e.Cause)
	}
	text := strings.Join(parts, ": ")
	if e.Remedy != "" {
		text += ". " + strings.ToUpper(e.Remedy[:1]) + e.Remedy[1:] + "."
	}
	return text
}

func fieldsText(fields []remuda.FieldError) string {
	head := messageInvalidInput
	if len(fields) == 1 && fields[0].Field == "" && strings.HasPrefix(fields[0].Message, "the body is not JSON") {
		head = "Invalid JSON"
	}
	texts := make([]string, len(fields))
	for i, f := range fields {
		texts[i] = strings.TrimSpace(theirName(f.Field) + " " + f.Message)
	}
	return head + ": " + strings.Join(texts, "; ")
}

// fieldNames are the vendor's names of fields that the services name, by what the
// services' names begin with.
var fieldNames = []struct{ ours, theirs string }{
	{"resources.cpu", "resource.cpu"},
	{"resources.memory_mb", "resource.mem"},
	{"exec_timeout_s", "execTimeout"},
	{"pool.min_cached", "minCachedInstances"},
	{"pool.max_cached", "maxCachedInstances"},
	{"version", "runtimeVersion"},
	{"egress.cidrs", "whitelist"},
	{"egress.names", "whitelist (host names)"},
	{"content", "scriptContent"},
	{"runtime", "scriptRuntimeId"},
	{"kind", "scriptType"},
	{"folder", "folderId"},
	{"usage", "scriptUsageType"},
	{"result", "scriptResultType"},
}

var fieldEnd = regexp.MustCompile(`^($|[.\[])`)

func theirName(field string) string {
	for _, n := range fieldNames {
		if rest, ok := strings.CutPrefix(field, n.ours); ok && fieldEnd.MatchString(rest) {
			return n.theirs + rest
		}
	}
	return field
}

// refuse answers with an error in the vendor's form. Its ticket and its private
// cause are in the access log.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	a := answerOf(err)
	message := messageOf(err, a.code)
	if a.code == codeSession {
		message = messageSession
	}
	writeRefusal(w, r, err, a, message)
}

func writeRefusal(w http.ResponseWriter, r *http.Request, err error, a answer, message string) {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails
	ticket := hex.EncodeToString(raw[:])
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(errorWire{Code: a.code, Message: message, TicketID: ticket}); err != nil { // texts only; cannot fail
		panic(err)
	}
	httpapi.WriteRefusal(w, r, fmt.Errorf("ticket %s: %w", ticket, err), httpapi.Refusal{Status: a.status, ContentType: "application/json", Body: body.Bytes()})
}

// notThere answers for paths and methods that the door does not have, in the words
// by which clients know that.
func notThere(w http.ResponseWriter, r *http.Request, allowed []string) {
	code, message := remuda.CodeNotFound, messageNoPath
	if len(allowed) > 0 {
		code, message = httpapi.CodeMethodNotAllowed, messageNoMethod
	}
	writeRefusal(w, r, &remuda.Error{Code: code, Message: message}, answers[code], message)
}
