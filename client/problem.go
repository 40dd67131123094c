package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/remuda-run/remuda/api"
)

// Problem is an error that the server reported.
type Problem struct {
	api.Problem
	// RetryAfter is how long the server asks to wait; 0 if it does not say.
	RetryAfter time.Duration
}

// Error says what happened, why, which fields are wrong and what to do.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Title)
	if p.Cause != nil {
		b.WriteString(": " + *p.Cause)
	}
	for i, f := range p.Fields {
		if len(p.Fields) == 1 && (f.Message == p.Title || strings.HasSuffix(p.Title, f.Field+" "+f.Message)) {
			break // the title says it already
		}
		separator := "; "
		if i == 0 {
			separator = ": "
		}
		b.WriteString(separator + strings.TrimSpace(f.Field+" "+f.Message))
	}
	if p.Remedy != nil {
		b.WriteString(" (" + *p.Remedy + ")")
	}
	return b.String()
}

// IsCode reports whether err is a Problem with the given code, such as
// "not_found".
func IsCode(err error, code string) bool {
	p, ok := errors.AsType[*Problem](err)
	return ok && string(p.Code) == code
}

// Running returns the execution that runs in a runspace, if err says that the runspace
// is busy.
func Running(err error) (id string, busy bool) {
	p, ok := errors.AsType[*Problem](err)
	if !ok || p.Reason == nil || *p.Reason != "runspace_busy" {
		return "", false
	}
	if p.Object != nil {
		id = *p.Object
	}
	return id, true
}

// maxProblem bounds how much of an error's body is read.
const maxProblem = 1 << 20

// problemOf makes a Problem of an answer that is none of success, also of one
// that some proxy on the way gave.
func problemOf(resp *http.Response) error {
	p := &Problem{}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != "application/problem+json" || json.Unmarshal(body, &p.Problem) != nil {
		p.Problem = api.Problem{
			Title: fmt.Sprintf("the server answered %s", resp.Status), Code: api.ProblemCodeInternal,
			RequestId: resp.Header.Get("X-Request-Id"),
		}
		remedy := "check that the address is a Remuda server's and what lies between"
		p.Remedy = &remedy
	}
	p.Status = resp.StatusCode
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		p.RetryAfter = time.Duration(s) * time.Second
	}
	return p
}
