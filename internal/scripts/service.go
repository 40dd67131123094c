package scripts

import (
	"context"
	"log/slog"
	"time"

	"github.com/remuda-run/remuda/internal/audit"
	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// Store is what this service needs of a store.
type Store interface {
	Write(ctx context.Context, fn func(*store.Tx) error) error
	Read(ctx context.Context, fn func(*store.Tx) error) error
}

// Runtimes finds runtimes by id, and the one for scripts that name none.
type Runtimes interface {
	Resolve(p remuda.Principal, ref string) (remuda.Runtime, error)
	Builtin(p remuda.Principal, language remuda.Language) (remuda.Runtime, error)
}

// Executions runs scripts.
type Executions interface {
	SubmitExecution(ctx context.Context, p remuda.Principal, req remuda.ExecutionRequest, wait time.Duration) (remuda.Execution, error)
	GetExecution(ctx context.Context, p remuda.Principal, id remuda.ExecutionID) (remuda.Execution, error)
	WaitExecution(ctx context.Context, p remuda.Principal, id remuda.ExecutionID, d time.Duration) (remuda.Execution, error)
	CancelExecution(ctx context.Context, p remuda.Principal, id remuda.ExecutionID) (remuda.Execution, error)
	Output(ctx context.Context, p remuda.Principal, id remuda.ExecutionID, after int64, maxBytes int, wait time.Duration) (remuda.OutputPage, error)
}

// Service is the stored scripts of every organization. Its methods may be called
// from any goroutine.
type Service struct {
	store      Store
	runtimes   Runtimes
	executions Executions
	log        *slog.Logger
}

// New returns the service.
func New(st Store, rt Runtimes, ex Executions, log *slog.Logger) *Service {
	return &Service{store: st, runtimes: rt, executions: ex, log: log}
}

// CreateScript stores a script in the principal's organization.
func (s *Service) CreateScript(ctx context.Context, p remuda.Principal, d remuda.ScriptDefinition) (remuda.Script, error) {
	if err := authz.Check(p, authz.ScriptWrite, p.Organization); err != nil {
		return remuda.Script{}, err
	}
	d, err := s.valid(p, d)
	if err != nil {
		return remuda.Script{}, err
	}
	now := timestamp()
	sc := remuda.Script{ID: remuda.NewScriptID(), Organization: p.Organization, Owner: p.User, ScriptDefinition: d, Revision: 1, CreatedAt: now, UpdatedAt: now}
	err = s.store.Write(ctx, func(tx *store.Tx) error {
		if err := tx.InsertScript(ctx, sc); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, entry(p, sc, "create"))
	})
	if err != nil {
		return remuda.Script{}, err
	}
	s.log.Info("script created", "script", sc.ID, "name", sc.Name, "organization", sc.Organization, "request", p.RequestID)
	return sc, nil
}

// ListScripts returns a page of the organization's scripts without contents and
// variables, newest first; name "" is all of them.
func (s *Service) ListScripts(ctx context.Context, p remuda.Principal, name string, page remuda.Page) (list []remuda.Script, next string, err error) {
	if err := authz.Check(p, authz.ScriptRead, p.Organization); err != nil {
		return nil, "", err
	}
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		list, next, err = tx.Scripts(ctx, p.Organization, name, page)
		return err
	})
	return list, next, err
}

// GetScript returns a script by id or short id.
func (s *Service) GetScript(ctx context.Context, p remuda.Principal, ref string) (sc remuda.Script, err error) {
	if err := authz.Check(p, authz.ScriptRead, p.Organization); err != nil {
		return remuda.Script{}, err
	}
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		sc, err = tx.Script(ctx, p.Organization, ref)
		return err
	})
	return sc, err
}

// Bounds of one call that names several scripts.
const (
	maxRefs      = 1000
	maxRefsBytes = 8 << 20 // of all but the first together; an answer takes several times as much
)

// GetScripts returns those of the named scripts that there are, in the order in
// which they are named, each once.
func (s *Service) GetScripts(ctx context.Context, p remuda.Principal, refs []string) ([]remuda.Script, error) {
	var list []remuda.Script
	size := 0
	err := s.each(ctx, p, refs, func(sc remuda.Script) error {
		if size += sizeOf(sc); size > maxRefsBytes && len(list) > 0 {
			return remuda.Invalid(remuda.FieldError{Field: "ids", Message: "names scripts of more than 8 MiB together; ask for them in parts"})
		}
		list = append(list, sc)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// sizeOf is about how many bytes a script has.
func sizeOf(sc remuda.Script) int {
	n := len(sc.Content) + len(sc.Description)
	for _, v := range sc.Variables {
		n += len(v.Value) + len(v.Description) + len(v.Tag)
	}
	return n
}

// each calls fn with each of the named scripts that there are, in the order in which
// they are named, once.
func (s *Service) each(ctx context.Context, p remuda.Principal, refs []string, fn func(remuda.Script) error) error {
	if err := authz.Check(p, authz.ScriptRead, p.Organization); err != nil {
		return err
	}
	if len(refs) > maxRefs {
		return remuda.Invalid(remuda.FieldError{Field: "ids", Message: "names more than 1000 scripts; ask for them in parts"})
	}
	seen := map[remuda.ScriptID]bool{}
	return s.store.Read(ctx, func(tx *store.Tx) error {
		for _, ref := range refs {
			sc, err := tx.Script(ctx, p.Organization, ref)
			if remuda.CodeOf(err) == remuda.CodeNotFound {
				continue
			}
			if err != nil {
				return err
			}
			if seen[sc.ID] {
				continue
			}
			seen[sc.ID] = true
			if err := fn(sc); err != nil {
				return err
			}
		}
		return nil
	})
}

// UpdateScript changes a script. A change that changes nothing makes no new
// revision.
func (s *Service) UpdateScript(ctx context.Context, p remuda.Principal, ref string, patch remuda.ScriptPatch) (remuda.Script, error) {
	if err := authz.Check(p, authz.ScriptWrite, p.Organization); err != nil {
		return remuda.Script{}, err
	}
	old, err := s.GetScript(ctx, p, ref)
	if err != nil {
		return remuda.Script{}, err
	}
	d, err := s.valid(p, patch.Apply(old.ScriptDefinition))
	if err != nil {
		return remuda.Script{}, err
	}
	if same(old.ScriptDefinition, d) {
		return old, nil
	}
	sc := old
	sc.ScriptDefinition, sc.UpdatedAt = d, timestamp()
	sc.Revision++
	err = s.store.Write(ctx, func(tx *store.Tx) error {
		if err := tx.UpdateScript(ctx, sc); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, entry(p, sc, "update"))
	})
	if err != nil {
		return remuda.Script{}, err
	}
	return sc, nil
}

// DeleteScript removes a script. What it has run, and what runs, stays.
func (s *Service) DeleteScript(ctx context.Context, p remuda.Principal, ref string) error {
	if err := authz.Check(p, authz.ScriptWrite, p.Organization); err != nil {
		return err
	}
	return s.store.Write(ctx, func(tx *store.Tx) error {
		sc, err := tx.Script(ctx, p.Organization, ref)
		if err != nil {
			return err
		}
		if err := tx.DeleteScript(ctx, p.Organization, sc.ID); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, entry(p, sc, "delete"))
	})
}

// Answers returns the values that the principal keeps for a script's variables.
func (s *Service) Answers(ctx context.Context, p remuda.Principal, ref string) (sc remuda.Script, answers []remuda.ScriptAnswer, err error) {
	if err := authz.Check(p, authz.ScriptRead, p.Organization); err != nil {
		return remuda.Script{}, nil, err
	}
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		if sc, err = tx.Script(ctx, p.Organization, ref); err != nil {
			return err
		}
		answers, err = tx.ScriptAnswers(ctx, p.Organization, sc.ID, p.User)
		return err
	})
	return sc, answers, err
}

// PutAnswers keeps values for a script's variables for the principal, in the place
// of those before. A run that gives no value for a variable takes the answer.
// Secrets are not kept.
func (s *Service) PutAnswers(ctx context.Context, p remuda.Principal, ref string, given []remuda.VariableValue) ([]remuda.ScriptAnswer, error) {
	if err := authz.Check(p, authz.ExecutionRun, p.Organization); err != nil {
		return nil, err
	}
	answers := []remuda.ScriptAnswer{}
	err := s.store.Write(ctx, func(tx *store.Tx) error {
		sc, err := tx.Script(ctx, p.Organization, ref)
		if err != nil {
			return err
		}
		if answers, err = checkAnswers(sc, given); err != nil {
			return err
		}
		if err := tx.PutScriptAnswers(ctx, p.Organization, sc.ID, p.User, answers, timestamp()); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, entry(p, sc, "answer"))
	})
	return answers, err
}

// timestamp is now as the store keeps it.
func timestamp() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func entry(p remuda.Principal, sc remuda.Script, change string) remuda.AuditEntry {
	details := []any{"change", change, "name", sc.Name, "revision", sc.Revision}
	if p.Comment != "" {
		details = append(details, "comment", p.Comment)
	}
	return audit.Entry(p, authz.ScriptWrite, string(sc.ID), nil, timestamp(), details...)
}
