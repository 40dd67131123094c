package scripts

import (
	"context"
	"fmt"
	"slices"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// PrepareScript makes a stored script (id, short id, or name) ready to be run by
// somebody else, such as a runspace that it connects to something. Its variables have
// the values that RunScript would give them: those that p has answered, else their
// own.
//
// Its secrets are among the parameters. Whoever runs it keeps them from everybody else,
// and from other code: see Secrets.
func (s *Service) PrepareScript(ctx context.Context, p remuda.Principal, ref string) (remuda.PreparedScript, error) {
	if err := authz.Check(p, authz.ExecutionRun, p.Organization); err != nil {
		return remuda.PreparedScript{}, err
	}
	sc, err := s.find(ctx, p, ref)
	if err != nil {
		return remuda.PreparedScript{}, err
	}
	if err := runnable(sc); err != nil {
		return remuda.PreparedScript{}, err
	}
	_, answers, err := s.Answers(ctx, p, string(sc.ID))
	if err != nil {
		return remuda.PreparedScript{}, err
	}
	b, parameters, err := job{content: sc.Content, variables: sc.Variables, answers: answers}.bind()
	if err != nil {
		return remuda.PreparedScript{}, err
	}
	rt, err := s.runtime(p, sc.Runtime)
	if err != nil {
		return remuda.PreparedScript{}, err
	}
	return remuda.PreparedScript{
		ID: sc.ID, Name: sc.Name, Language: remuda.LanguagePython, Runtime: rt.ID, Source: b.source, Parameters: parameters, Secrets: secretsOf(b, sc.Variables),
	}, nil
}

// find returns a script by id, short id or name.
func (s *Service) find(ctx context.Context, p remuda.Principal, ref string) (remuda.Script, error) {
	if remuda.IsID(remuda.PrefixScript, ref) || remuda.IsShortID(ref) {
		sc, err := s.GetScript(ctx, p, ref)
		if remuda.CodeOf(err) != remuda.CodeNotFound {
			return sc, err
		}
	}
	if err := authz.Check(p, authz.ScriptRead, p.Organization); err != nil {
		return remuda.Script{}, err
	}
	var named []remuda.Script
	err := s.store.Read(ctx, func(tx *store.Tx) (err error) {
		named, err = tx.ScriptsNamed(ctx, p.Organization, ref, 2)
		return err
	})
	switch {
	case err != nil:
		return remuda.Script{}, err
	case len(named) == 0:
		return remuda.Script{}, remuda.NotFound("script", ref)
	case len(named) > 1:
		return remuda.Script{}, &remuda.Error{
			Code: remuda.CodeConflict, Message: fmt.Sprintf("the name %q does not say which script is meant", ref),
			Cause: "several folders have a script of this name", Remedy: "give the id of the script",
		}
	}
	return named[0], nil
}

// runnable refuses what cannot be run.
func runnable(sc remuda.Script) error {
	if sc.Kind == remuda.ScriptPython {
		return nil
	}
	return &remuda.Error{
		Code: remuda.CodeUnsupported, Message: "script " + sc.Name + " cannot be run", Cause: "it is a notebook", Remedy: "store its code as a script of type python",
	}
}

// secretsOf are the names of the secrets that a script reads and that are not empty.
func secretsOf(b bound, variables []remuda.ScriptVariable) []string {
	var names []string
	for _, v := range variables {
		if v.Kind == remuda.VariableSecret && v.Value != "" && slices.Contains(b.used, v.Name) {
			names = append(names, v.Name)
		}
	}
	return names
}
