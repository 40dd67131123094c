package remuda

import (
	"errors"
	"fmt"
)

// Code classifies an error; every edge maps it to its own status and vendor
// code. The text is part of the wire of /v1 ("code").
type Code string

// The codes. Keep the list at about a dozen: an edge must map each of them.
const (
	CodeInvalid         Code = "invalid"          // the input is wrong; Fields names what
	CodeUnauthenticated Code = "unauthenticated"  // who is asking is not known
	CodeForbidden       Code = "forbidden"        // known, and not allowed
	CodeNotFound        Code = "not_found"        // absent, or another organization's
	CodeConflict        Code = "conflict"         // the present state does not allow it
	CodePrecondition    Code = "precondition"     // a condition of the request does not hold
	CodeTooLarge        Code = "too_large"        // over a size limit
	CodeUnsupportedType Code = "unsupported_type" // content type not understood
	CodeExhausted       Code = "exhausted"        // a quota or capacity is used up; try later
	CodeDeadline        Code = "deadline"         // time ran out
	CodeCanceled        Code = "canceled"         // the caller went away
	CodeUnavailable     Code = "unavailable"      // the server cannot do it now
	CodeUnsupported     Code = "unsupported"      // this machine or engine cannot do it
	CodeInternal        Code = "internal"         // our fault
)

// Reason is a finer word than a Code, for edges whose wire has one.
type Reason string

// The reasons.
const (
	ReasonRunspaceBusy     Reason = "runspace_busy"      // Object is the execution that is running
	ReasonRunspaceNotReady Reason = "runspace_not_ready" // Object is the state that it is in
	ReasonTooManyRunspaces Reason = "too_many_runspaces"
	ReasonTooManyTerminals Reason = "too_many_terminals"
)

// FieldError names one wrong field of an input.
type FieldError struct {
	Field   string `json:"field"`   // path of the field, "resources.cpu"
	Message string `json:"message"` // what is wrong and what would be right
}

// Error is the one error type that crosses layers. Message, Cause, Remedy and
// Fields are public; Err is private and only logged.
type Error struct {
	Code    Code
	Message string       // what happened, one sentence
	Cause   string       // why, public; may be empty
	Remedy  string       // what to do about it; may be empty
	Fields  []FieldError // with CodeInvalid: every wrong field
	// Reason tells apart what doors answer differently; "" where the code says all.
	Reason Reason
	Object string // id of what the error is about besides what was asked for: the execution that is running
	// RetryAfterSeconds is a hint with CodeExhausted and CodeUnavailable; 0 is none.
	RetryAfterSeconds int
	Err               error // private cause, never shown to a client
}

// Error implements error with the public text followed by the private cause.
func (e *Error) Error() string {
	s := e.Message
	if e.Cause != "" {
		s += ": " + e.Cause
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the private cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error; a %w operand becomes its private cause too.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

// Internal wraps err as our own fault. The public message says only what was
// being done; err is logged.
func Internal(doing string, err error) *Error {
	return &Error{Code: CodeInternal, Message: "internal error while " + doing, Remedy: "look for the request id in the server's log", Err: err}
}

// ShuttingDown says that the server takes nothing more on.
func ShuttingDown() *Error {
	return &Error{Code: CodeUnavailable, Message: "the server is shutting down", Remedy: "try again when it is back", RetryAfterSeconds: 5}
}

// NotFound says that an object does not exist, or is another organization's.
func NotFound(kind, ref string) *Error {
	return &Error{Code: CodeNotFound, Message: fmt.Sprintf("no %s %q", kind, ref), Remedy: "check the id or name, and which organization the token belongs to"}
}

// Invalid reports every wrong field of an input at once.
func Invalid(fields ...FieldError) *Error {
	e := &Error{Code: CodeInvalid, Message: "the request is not valid", Fields: fields, Remedy: "correct the named fields and send the request again; nothing was changed"}
	if len(fields) == 1 {
		e.Message = fmt.Sprintf("the request is not valid: %s %s", fields[0].Field, fields[0].Message)
	}
	return e
}

// CodeOf returns the code of the first Error in err's chain, CodeInternal for
// any other error and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// ReasonOf returns the reason of the first Error in err's chain.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ""
}

// Public is the part of err that a user may read: what happened and why, of an
// error of ours, and nothing of any other.
func Public(err error) string {
	e, ok := errors.AsType[*Error](err)
	switch {
	case !ok:
		return "internal error; the server's log says more"
	case e.Cause != "":
		return e.Message + ": " + e.Cause
	default:
		return e.Message
	}
}
