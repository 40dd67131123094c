package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/secret"
	"github.com/remuda-run/remuda/internal/store"
)

// maxValue bounds one detail; the log is for what happened, not for content.
const maxValue = 256

// Entry builds the entry for an action of p on an object of p's organization
// that ended with err (nil is OutcomeOK). details are pairs of a key and a value,
// as for slog: a value whose type is a slog.LogValuer, such as secret.String,
// is recorded as that says, and of an error only the public text.
func Entry(p remuda.Principal, action authz.Action, object string, err error, at time.Time, details ...any) remuda.AuditEntry {
	outcome := remuda.OutcomeOK
	if err != nil {
		outcome = string(remuda.CodeOf(err))
	}
	return remuda.AuditEntry{
		Organization: p.Organization, User: p.User, Action: string(action), Object: object, Outcome: outcome,
		RequestID: p.RequestID, At: at, Details: Details(details...),
	}
}

// Details makes the details of an entry from pairs of a key and a value. A key
// that names a secret is redacted whatever the type of its value.
func Details(pairs ...any) map[string]string {
	if len(pairs) == 0 {
		return nil
	}
	out := make(map[string]string, len(pairs)/2)
	for len(pairs) > 0 {
		key, ok := pairs[0].(string)
		if !ok || len(pairs) == 1 {
			out["!badkey"] = "a detail without a key was left out"
			pairs = pairs[1:]
			continue
		}
		out[key] = show(key, pairs[1])
		pairs = pairs[2:]
	}
	return out
}

func show(key string, value any) string {
	if secretKey(key) {
		return secret.Redacted
	}
	var text string
	if err, ok := value.(error); ok {
		text = publicText(err)
	} else if v := slog.AnyValue(value).Resolve(); v.Kind() == slog.KindTime {
		text = v.Time().UTC().Format(time.RFC3339Nano)
	} else {
		text = v.String()
	}
	if len(text) > maxValue {
		text = strings.ToValidUTF8(text[:maxValue], "") + "..."
	}
	return text
}

// publicText leaves out the private cause of an error.
func publicText(err error) string {
	if e, ok := errors.AsType[*remuda.Error](err); ok {
		return fmt.Sprintf("%s: %s", e.Code, e.Message)
	}
	return string(remuda.CodeInternal)
}

// secretKey is the second line of defense, for a secret that was passed as a
// plain string.
func secretKey(key string) bool {
	key = strings.ToLower(key)
	for _, word := range []string{"password", "secret", "credential", "authorization", "private_key"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}

// Service reads the log for administrators.
type Service struct{ store *store.Store }

// New returns a service on s.
func New(s *store.Store) *Service { return &Service{store: s} }

// List returns entries of the principal's organization, newest first.
func (s *Service) List(ctx context.Context, p remuda.Principal, page remuda.Page) (entries []remuda.AuditEntry, next string, err error) {
	if err := authz.Check(p, authz.AuditRead, p.Organization); err != nil {
		return nil, "", err
	}
	err = s.store.ReadOf(ctx, store.Ended{Organization: p.Organization}, func(tx *store.Tx) error {
		entries, next, err = tx.Audit(ctx, p.Organization, page)
		return err
	})
	return entries, next, err
}
