package runspaces

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Scripts finds stored scripts.
type Scripts interface {
	// PrepareScript makes a stored script (id or name) ready to run for p.
	PrepareScript(ctx context.Context, p remuda.Principal, ref string) (remuda.PreparedScript, error)
}

// Delegates makes tokens with which scripts act for somebody while they run.
type Delegates interface {
	Delegate(ctx context.Context, p remuda.Principal, name string) (remuda.TokenID, string, error)
	EndDelegation(ctx context.Context, p remuda.Principal, id remuda.TokenID) error
}

// SetScripts says where connection scripts come from. Call it before anything else.
func (s *Service) SetScripts(from Scripts) { s.scripts = from }

// What the executions of connection scripts are called, and the parameter that they
// get; CredentialsToken is the member of it that holds the delegated token.
const (
	connectionName   = "connection"
	disconnectName   = "disconnect"
	credentialsName  = "credentials"
	CredentialsToken = "remuda_token" //nolint:gosec // the name of a member, not a secret
)

// Bounds of credentials.
const (
	maxCredentials      = 64
	maxCredentialName   = 64
	maxCredentialsBytes = 64 << 10
)

// connection is what a connection script needs and no row has.
type connection struct {
	by          remuda.Principal
	credentials remuda.Credentials
}

// checkCredentials says what is wrong with the credentials of a request. No message
// has a value of them.
func checkCredentials(c remuda.Credentials) []remuda.FieldError {
	wrong := func(format string, args ...any) []remuda.FieldError {
		return []remuda.FieldError{{Field: "credentials", Message: fmt.Sprintf(format, args...)}}
	}
	if len(c) > maxCredentials {
		return wrong("has %d members; at most %d are allowed", len(c), maxCredentials)
	}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(c)) {
		switch {
		case name == "" || len(name) > maxCredentialName || !utf8.ValidString(name):
			return wrong("has a member whose name is not 1 to %d bytes of UTF-8", maxCredentialName)
		case name == CredentialsToken:
			return wrong("must not have %s: the server puts a token of the caller's there", CredentialsToken)
		case !utf8.ValidString(c[name]):
			return wrong("has a member that is not UTF-8: %q", name)
		}
		size += len(name) + len(c[name])
	}
	if size > maxCredentialsBytes {
		return wrong("has %d bytes; at most %d are allowed", size, maxCredentialsBytes)
	}
	return nil
}

// connectable finds the scripts of a runspace that is to be connected and notes them in
// its row. It refuses what could not be run, or could tell the script's secrets.
func (s *Service) connectable(ctx context.Context, p remuda.Principal, req remuda.RunspaceRequest, rt remuda.Runtime, row *remuda.Runspace) error {
	if !row.RunConnection {
		if len(req.Credentials) > 0 {
			return remuda.Invalid(remuda.FieldError{Field: "credentials", Message: "are for the connection script, which is not asked for"})
		}
		return nil
	}
	row.HadCredentials = len(req.Credentials) > 0
	wrong := checkCredentials(req.Credentials)
	refuse := func(field, format string, args ...any) {
		wrong = append(wrong, remuda.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	row.ConnectionScript = cmp.Or(req.ConnectionScript, rt.ConnectionScript)
	row.DisconnectScript = cmp.Or(req.DisconnectScript, rt.DisconnectScript)
	if row.ConnectionScript == "" && req.ConnectionIfAny && len(req.Credentials) == 0 {
		row.DisconnectScript = ""
		return nil
	}
	if row.ConnectionScript == "" {
		refuse("connection_script", "is required: neither the request nor the runtime %s names one", rt.Name)
	} else if script, why, err := s.script(ctx, p, row.ConnectionScript, rt); err != nil {
		return err
	} else if why != "" {
		refuse("connection_script", "%s", why)
	} else {
		row.ConnectionScript = string(script.ID)
		if why := guarded(script, *row); why != "" {
			refuse("connection_script", "%s", why)
		}
	}
	if row.DisconnectScript != "" {
		script, why, err := s.script(ctx, p, row.DisconnectScript, rt)
		switch {
		case err != nil:
			return err
		case why != "":
			refuse("disconnect_script", "%s", why)
		case len(script.Secrets) > 0:
			refuse("disconnect_script", "%s", errDisconnectSecrets(script))
		}
		row.DisconnectScript = string(script.ID)
	}
	if len(wrong) > 0 {
		return remuda.Invalid(wrong...)
	}
	return nil
}

// script prepares a stored script for a runtime; why says that it cannot be run there.
func (s *Service) script(ctx context.Context, p remuda.Principal, ref string, rt remuda.Runtime) (script remuda.PreparedScript, why string, err error) {
	if s.scripts == nil || s.runner == nil {
		return script, "", &remuda.Error{Code: remuda.CodeUnsupported, Message: "this server has no stored scripts", Remedy: "create the runspace without a connection script"}
	}
	script, err = s.scripts.PrepareScript(ctx, p, ref)
	switch code := remuda.CodeOf(err); {
	case code == remuda.CodeNotFound, code == remuda.CodeConflict, code == remuda.CodeInvalid, code == remuda.CodeUnsupported:
		return script, "names a stored script that cannot be run: " + remuda.Public(err), nil
	case err != nil:
		return script, "", err
	case script.Language != rt.Language:
		return script, fmt.Sprintf("names a script of %s; the runtime %s runs %s", script.Language, rt.Name, rt.Language), nil
	case len(script.Secrets) > 0 && script.Runtime != rt.ID:
		return script, fmt.Sprintf("names a script with secret values ($%s), which are given on the runtime that the script names and on no other",
			strings.Join(script.Secrets, ", $")), nil
	}
	return script, "", nil
}

// guarded says what of a runspace could tell a secret of its connection script: code or
// settings of whoever opens it that are there when it runs. Whoever may run a script
// may use its secrets in what it does, not learn them.
func guarded(script remuda.PreparedScript, row remuda.Runspace) string {
	switch {
	case len(script.Secrets) == 0:
		return ""
	case len(row.Env) > 0:
		return "names a script with secret values, which is not run with environment variables of the request"
	case row.Resets > 0:
		return "names a script with secret values, which is not run beside files of an earlier instance"
	}
	return ""
}

func errDisconnectSecrets(script remuda.PreparedScript) string {
	return fmt.Sprintf("names a script that reads a secret ($%s), which what ran in the runspace before could learn; let the connection script keep what is needed", script.Secrets[0])
}

// errScript says why a script of a runspace cannot be run any more: it was checked when
// the runspace was created.
func errScript(why string) error {
	return &remuda.Error{Code: remuda.CodePrecondition, Message: "the runspace " + why, Remedy: "mend the stored script, or name another one when you create a runspace"}
}

// reconnectable is connectable for a reset, whose scripts are those of before.
func (s *Service) reconnectable(ctx context.Context, p remuda.Principal, r *runspace, req ResetRequest) error {
	row := r.state()
	if !row.Connects() {
		return nil
	}
	if row.HadCredentials && len(req.Credentials) == 0 {
		return &remuda.Error{
			Code: remuda.CodeConflict, Message: "runspace " + string(r.id) + " cannot be reset without credentials",
			Cause: "its connection script runs again, and the credentials of the first time were not kept", Remedy: "give credentials with the request",
		}
	}
	if wrong := checkCredentials(req.Credentials); len(wrong) > 0 {
		return remuda.Invalid(wrong...)
	}
	script, why, err := s.script(ctx, p, row.ConnectionScript, remuda.Runtime{ID: row.Runtime, Definition: r.lease.Definition()})
	if err != nil {
		return err
	}
	row.Resets++
	if why = cmp.Or(why, guarded(script, row)); why != "" {
		return &remuda.Error{
			Code: remuda.CodeConflict, Message: "runspace " + string(r.id) + " cannot be reset", Cause: "it " + why, Remedy: "create another runspace",
		}
	}
	return nil
}

// connect runs the connection script of r, which has its instance and is still being
// created. How the script ends is for its execution to say; an error says that it
// could not be run.
func (s *Service) connect(ctx context.Context, r *runspace, inst engine.Instance) error {
	if !r.state().Connects() {
		return nil
	}
	secret := r.takeSecret()
	if err := s.runConnection(ctx, r, secret); err != nil {
		return &remuda.Error{
			Code: remuda.CodeOf(err), Message: "the connection script could not be run", Cause: remuda.Public(err),
			Remedy: "mend that, and create the runspace again", Err: err,
		}
	}
	if !inst.Alive() {
		return &remuda.Error{
			Code: remuda.CodePrecondition, Message: "the connection script ended the sandbox", Cause: inst.Exit().Reason,
			Remedy: "mend the script, or give the runtime what it needs",
		}
	}
	return nil
}

func (s *Service) runConnection(ctx context.Context, r *runspace, secret connection) error {
	row, p := r.state(), secret.by
	rt := remuda.Runtime{ID: row.Runtime, Definition: r.lease.Definition()}
	script, why, err := s.script(ctx, p, row.ConnectionScript, rt)
	if err != nil {
		return err
	}
	if why = cmp.Or(why, guarded(script, row)); why != "" {
		return errScript(why)
	}
	credentials, end, err := s.withToken(ctx, p, secret.credentials)
	if err != nil {
		return err
	}
	defer end()
	parameters := maps.Clone(script.Parameters)
	if parameters == nil {
		parameters = map[string]json.RawMessage{}
	}
	parameters[credentialsName] = credentials
	id, wait, err := s.runner.RunSystem(ctx, p, SystemRun{
		Runspace: r.id, Name: cmp.Or(row.ConnectionName, connectionName), Script: script.Source, Parameters: parameters,
		Scratch: slices.Sorted(maps.Keys(parameters)), Timeout: timeLeft(ctx),
	})
	if err != nil {
		return err
	}
	if err := s.save(ctx, r.connectedBy(id), "its connection script could not be recorded"); err != nil {
		return err
	}
	_, err = wait(ctx)
	return err
}

// withToken is the credentials as JSON, with a token that acts for p until end is
// called.
func (s *Service) withToken(ctx context.Context, p remuda.Principal, given remuda.Credentials) (raw json.RawMessage, end func(), err error) {
	all, end := maps.Clone(given), func() {}
	if all == nil {
		all = remuda.Credentials{}
	}
	if s.set.Delegates != nil {
		id, text, err := s.set.Delegates.Delegate(ctx, p, connectionName)
		if err != nil {
			return nil, nil, fmt.Errorf("make a token for the connection script: %w", err)
		}
		all[CredentialsToken] = text
		end = func() {
			// It expires in any case.
			if err := s.set.Delegates.EndDelegation(context.WithoutCancel(ctx), p, id); err != nil {
				s.log.Warn("the token of a connection script could not be removed before it expires", "token", id, "error", err)
			}
		}
	}
	raw, err = json.Marshal(all)
	return raw, end, err
}

// timeLeft is how long a script may run so that what comes after it has some time.
func timeLeft(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	left := time.Until(deadline)
	return left - min(left/4, 5*time.Second)
}

// takeSecret returns what only the connection script may know and forgets it.
func (r *runspace) takeSecret() connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	secret := r.secret
	r.secret = connection{}
	return secret
}

// connectedBy notes the execution of the connection script and returns the row.
func (r *runspace) connectedBy(id remuda.ExecutionID) remuda.Runspace {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.row.ConnectionExecution, r.connected = id, true
	return r.row
}

// disconnect runs the disconnect script of r, in which nothing runs any more, if its
// connection script was started and the sandbox still lives. It takes at most
// DisconnectTimeout.
func (s *Service) disconnect(r *runspace) {
	row := r.state()
	inst := r.instance()
	if !r.takeConnected() || row.DisconnectScript == "" || inst == nil || !inst.Alive() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.set.DisconnectTimeout)
	defer cancel()
	if err := s.runDisconnect(ctx, r, row); err != nil {
		s.log.Warn("the disconnect script of a runspace could not be run", "runspace", r.id, "script", row.DisconnectScript, "error", err)
	}
}

func (s *Service) runDisconnect(ctx context.Context, r *runspace, row remuda.Runspace) error {
	// Whoever ends the runspace, if it is somebody at all, is not who connected it.
	owner := remuda.Principal{User: row.Owner, Organization: row.Organization, Role: remuda.RoleOperator, Scope: remuda.ScopeWrite}
	script, why, err := s.script(ctx, owner, row.DisconnectScript, remuda.Runtime{ID: row.Runtime, Definition: r.lease.Definition()})
	switch {
	case err != nil:
		return err
	case why != "":
		return errScript(why)
	case len(script.Secrets) > 0: // it has changed since
		return errScript(errDisconnectSecrets(script))
	}
	_, wait, err := s.runner.RunSystem(ctx, owner, SystemRun{
		Runspace: r.id, Name: cmp.Or(row.DisconnectName, disconnectName), Script: script.Source, Parameters: script.Parameters,
		Scratch: slices.Sorted(maps.Keys(script.Parameters)), Timeout: timeLeft(ctx),
	})
	if err != nil {
		return err
	}
	_, err = wait(ctx)
	return err
}

// takeConnected reports, once, that the connection script of r was started.
func (r *runspace) takeConnected() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.connected
	r.connected = false
	return was
}
