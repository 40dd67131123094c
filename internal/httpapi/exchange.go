package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// exchange is one request and its answer: what the log wants to know. It is also
// the ResponseWriter that handlers see.
type exchange struct {
	http.ResponseWriter
	rc     *http.ResponseController
	id     string // request id
	user   remuda.UserID
	org    remuda.OrganizationID
	err    error
	status int
	bytes  int64
	// nextDeadline is when the write deadline has to be moved again.
	nextDeadline time.Time
}

// writeTimeout is how long a client may take to accept one write.
const writeTimeout = 30 * time.Second

type exchangeKey struct{}

// exchangeOf returns the exchange of a request that came through Wrap. Outside
// of it (a handler under a unit test) it returns an empty one.
func exchangeOf(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{}
}

// RequestID returns the id of the request that ctx belongs to.
func RequestID(ctx context.Context) string { return exchangeOf(ctx).id }

// SetPrincipal names who is asking, for the access log.
func SetPrincipal(ctx context.Context, p remuda.Principal) {
	x := exchangeOf(ctx)
	x.user, x.org = p.User, p.Organization
}

func (x *exchange) started() bool { return x.status != 0 }

// WriteHeader implements http.ResponseWriter.
func (x *exchange) WriteHeader(status int) {
	if (status >= 200 || status == http.StatusSwitchingProtocols) && x.status == 0 {
		x.status = status
	}
	x.extend()
	x.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	x.extend()
	n, err := x.ResponseWriter.Write(b)
	x.bytes += int64(n)
	return n, err
}

// Unwrap serves http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// sendWhole sends an answer that is all there. One whose length is not known is left
// to net/http, which finds that out when the handler has returned.
func (x *exchange) sendWhole() {
	if x.bytes > 0 && x.Header().Get("Content-Length") == strconv.FormatInt(x.bytes, 10) {
		_ = x.rc.Flush() // a client that went away is not an error of ours
	}
}

// extend gives the client time for the next write. Without a deadline a reader
// that stands still would hold a goroutine, and what it has to say, forever.
func (x *exchange) extend() {
	now := time.Now()
	if now.Before(x.nextDeadline) {
		return
	}
	x.nextDeadline = now.Add(writeTimeout / 10)
	_ = x.rc.SetWriteDeadline(now.Add(writeTimeout)) // not every writer (a test recorder) has one
}
