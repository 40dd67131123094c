package httpapi

import (
	"net/url"
	"strconv"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// MaxWait is the longest that a request may wait for an end.
const MaxWait = 5 * time.Minute

// ParseWait reads the wait parameter: seconds ("30", "0.5") or a Go duration
// ("1m30s"), from 0 to MaxWait. "" is 0.
func ParseWait(s string) (time.Duration, error) { return ParseDuration("wait", s) }

// ParseDuration reads a parameter that has the form of wait.
func ParseDuration(name, s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		d, err = time.ParseDuration(s + "s")
	}
	if err != nil || d < 0 || d > MaxWait {
		return 0, remuda.Invalid(remuda.FieldError{Field: name, Message: "must be seconds or a duration such as 30, 500ms or 1m30s, from 0 to 300 seconds"})
	}
	return d, nil
}

// Page reads the paging parameters of a query that was checked already.
func Page(query url.Values) remuda.Page {
	limit, _ := strconv.Atoi(query.Get("limit")) // absent is 0, the default
	return remuda.Page{Limit: limit, Cursor: query.Get("cursor")}
}
