package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// Options are what an edge needs besides its services.
type Options struct {
	// Logger takes the access log and what goes wrong. nil discards.
	Logger *slog.Logger
	// Stopping is closed when the server ends: what holds a connection open by
	// itself lets go of it then. nil never is.
	Stopping <-chan struct{}
	// Ready is asked by /readyz; nil means always ready. Its public error text
	// is shown.
	Ready func(ctx context.Context) error
	// Metrics serves /metrics; nil means that there is no such path.
	Metrics http.Handler
	// MetricsOpen serves /metrics without a token. Set it only when the
	// listener is bound to loopback.
	MetricsOpen bool
	// Version is shown by /healthz and in the documentation.
	Version string
	// TrustedOrigins are browser origins ("https://host") that may send changing
	// requests from other sites.
	TrustedOrigins []string
	// Refuse answers for what never reaches a handler: a request from another
	// site, a path that is not clean, a panic. nil is WriteError.
	Refuse func(w http.ResponseWriter, r *http.Request, err error)
}

func (o Options) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if o.Refuse != nil {
		o.Refuse(w, r, err)
		return
	}
	WriteError(w, r, err)
}

// Limits of the server that are the same for every edge.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// NewServer returns a server for h with the timeouts that every listener of
// Remuda has. Reading a body and writing an answer have deadlines of their own
// (see Wrap), because a request may rightly wait for minutes.
func NewServer(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// "OPTIONS *" is answered like every other path that there is not.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(orDiscard(logger).Handler(), slog.LevelDebug),
	}
}

func orDiscard(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
