package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/remuda-run/remuda/internal/httpapi/openapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

// bodies holds buffers for small bodies. What is decoded from one is copied.
var bodies = sync.Pool{New: func() any { b := make([]byte, 0, pooledBody); return &b }}

const (
	pooledBody = 16 << 10
	// trustedLength is how much is set aside on the word of Content-Length.
	trustedLength = 8 << 20
)

// ReadJSON reads the JSON body of r into into, which must be a pointer, and
// holds it against schema. Its errors are 400 with every wrong field, 413 and 415.
func ReadJSON(w http.ResponseWriter, r *http.Request, schema *openapi.Schema, limit int64, into any) error {
	if err := checkJSONType(r.Header); err != nil {
		return err
	}
	buf := bodies.Get().(*[]byte)
	defer func() {
		if cap(*buf) == pooledBody {
			bodies.Put(buf)
		}
	}()
	data, err := readAll(w, r, limit, (*buf)[:0])
	if err != nil {
		return err
	}
	return DecodeJSON(data, schema, into)
}

// DecodeJSON decodes data into into and holds it against schema. The bytes are
// decoded once; the check walks over them and builds nothing.
func DecodeJSON(data []byte, schema *openapi.Schema, into any) error {
	if !utf8.Valid(data) {
		return remuda.Invalid(remuda.FieldError{Field: "", Message: "the body is not UTF-8; bytes of another kind go into the fields that take base64"})
	}
	err := json.Unmarshal(data, into)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return remuda.Invalid(remuda.FieldError{Field: "", Message: syntaxMessage(data, syntax)})
	}
	if fields := openapi.Check(schema, data); len(fields) > 0 {
		return remuda.Invalid(fields...)
	}
	if err != nil { // the schema let pass what the Go type cannot hold
		return remuda.Invalid(remuda.FieldError{Field: "", Message: "the body does not fit: " + err.Error()})
	}
	return nil
}

func syntaxMessage(data []byte, e *json.SyntaxError) string {
	if len(data) == 0 {
		return "the body is empty; a JSON object is wanted"
	}
	at := int(min(e.Offset, int64(len(data))))
	before := string(data[:at])
	line := 1 + strings.Count(before, "\n")
	column := at - strings.LastIndexByte(before, '\n') - 1
	return fmt.Sprintf("the body is not JSON: %s (line %d, column %d)", e.Error(), line, max(column, 1))
}

func checkJSONType(h http.Header) error {
	if h.Get("Content-Encoding") != "" && h.Get("Content-Encoding") != "identity" {
		return unsupportedType("the body has Content-Encoding "+clip(h.Get("Content-Encoding")), "send it unencoded")
	}
	given := h.Get("Content-Type")
	if given == "application/json" {
		return nil
	}
	if given == "" {
		return unsupportedType("the request says no Content-Type", "send Content-Type: application/json")
	}
	kind, params, err := mime.ParseMediaType(given)
	if err != nil || kind != "application/json" {
		return unsupportedType("the body is "+clip(given), "send Content-Type: application/json")
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return unsupportedType("the body is in charset "+clip(charset), "send UTF-8")
	}
	return nil
}

func unsupportedType(cause, remedy string) error {
	return &remuda.Error{Code: remuda.CodeUnsupportedType, Message: "the content type is not understood", Cause: cause, Remedy: remedy}
}

// readAll reads the body into buf, or into a larger one.
func readAll(w http.ResponseWriter, r *http.Request, limit int64, buf []byte) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	if n := min(r.ContentLength, trustedLength); n >= int64(cap(buf)) {
		buf = make([]byte, 0, n+1)
	}
	body := http.MaxBytesReader(w, r.Body, limit)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			BodyRead(r)
			return buf, nil
		}
		if err != nil {
			return nil, BodyError(err)
		}
	}
}

// BodyRead ends the deadline for reading. Without that it would pass while the
// handler waits, and net/http would take the client for gone.
func BodyRead(r *http.Request) {
	if x := exchangeOf(r.Context()); x.rc != nil && r.ContentLength != 0 {
		_ = x.rc.SetReadDeadline(time.Time{})
	}
}

// AllowReading moves the deadline for reading the body, for bodies that may
// rightly take longer than a document.
func AllowReading(r *http.Request, d time.Duration) {
	if x := exchangeOf(r.Context()); x.rc != nil {
		_ = x.rc.SetReadDeadline(time.Now().Add(d))
	}
}

// BodyError says what went wrong while the body of a request was read.
func BodyError(err error) error {
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(e.Limit)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &remuda.Error{Code: remuda.CodeInvalid, Message: "the body did not arrive in time", Remedy: "send it faster", Err: err}
	}
	return &remuda.Error{Code: remuda.CodeInvalid, Message: "the body ended before its announced length or is not well framed", Remedy: "send the request again", Err: err}
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
