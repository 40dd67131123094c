package scripts

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// ContentRun asks for one run of a content that comes with the request.
type ContentRun struct {
	Script    string           // id or short id of the stored script that the content is of; "" is none
	Content   string           //
	Runtime   remuda.RuntimeID // "" is the built-in one
	Variables []remuda.ScriptVariable
}

// RunContent runs a content on a fresh instance. It returns when the run is
// recorded, not when it has ended.
func (s *Service) RunContent(ctx context.Context, p remuda.Principal, e ContentRun) (remuda.ScriptRun, error) {
	var c checker
	if e.Content == "" {
		c.add("content", "is required")
	}
	c.content("content", e.Content)
	c.variables(e.Variables)
	if len(c.fields) > 0 {
		return remuda.ScriptRun{}, remuda.Invalid(c.fields...)
	}
	var script remuda.ScriptID
	if e.Script != "" {
		sc, err := s.GetScript(ctx, p, e.Script)
		if err != nil {
			return remuda.ScriptRun{}, err
		}
		script = sc.ID
		if e.Variables == nil {
			e.Variables = sc.Variables
			if e.Content != sc.Content || e.Runtime != "" && e.Runtime != sc.Runtime {
				e.Variables = withoutSecrets(sc.Variables)
			}
		}
		if e.Runtime == "" {
			e.Runtime = sc.Runtime
		}
	}
	return s.submit(ctx, p, job{script: script, content: e.Content, runtime: e.Runtime, variables: e.Variables})
}

// withoutSecrets leaves out the secrets. Whoever may run a script may use its
// secrets in what it does, not with other code: that could tell them. Reading one is
// then an error, not an empty text with which somebody might log in.
func withoutSecrets(list []remuda.ScriptVariable) []remuda.ScriptVariable {
	return slices.DeleteFunc(slices.Clone(list), func(v remuda.ScriptVariable) bool { return v.Kind == remuda.VariableSecret })
}

// RunScript runs a stored script, with values for its variables.
func (s *Service) RunScript(ctx context.Context, p remuda.Principal, ref string, given []remuda.VariableValue) (remuda.ScriptRun, error) {
	sc, answers, err := s.Answers(ctx, p, ref)
	if err != nil {
		return remuda.ScriptRun{}, err
	}
	if err := runnable(sc); err != nil {
		return remuda.ScriptRun{}, err
	}
	return s.submit(ctx, p, job{script: sc.ID, content: sc.Content, runtime: sc.Runtime, variables: sc.Variables, given: given, answers: answers})
}

// job is a run that is to be made.
type job struct {
	script    remuda.ScriptID
	content   string
	runtime   remuda.RuntimeID
	variables []remuda.ScriptVariable
	given     []remuda.VariableValue
	answers   []remuda.ScriptAnswer
}

func (s *Service) submit(ctx context.Context, p remuda.Principal, j job) (remuda.ScriptRun, error) {
	if err := authz.Check(p, authz.ExecutionRun, p.Organization); err != nil {
		return remuda.ScriptRun{}, err
	}
	b, parameters, err := j.bind()
	if err != nil {
		return remuda.ScriptRun{}, err
	}
	rt, err := s.runtime(p, j.runtime)
	if err != nil {
		return remuda.ScriptRun{}, err
	}
	if rt.Language != remuda.LanguagePython {
		return remuda.ScriptRun{}, remuda.Invalid(remuda.FieldError{Field: "runtime", Message: "is one of " + string(rt.Language) + "; stored scripts are Python"})
	}
	ex, err := s.executions.SubmitExecution(ctx, p, remuda.ExecutionRequest{Runtime: string(rt.ID), Script: b.source, Parameters: parameters}, 0)
	if err != nil {
		return remuda.ScriptRun{}, err
	}
	run := remuda.ScriptRun{Organization: p.Organization, Execution: ex.ID, Script: j.script, Prefix: b.prefix, CreatedAt: timestamp()}
	if err := s.store.Write(ctx, func(tx *store.Tx) error { return tx.InsertScriptRun(ctx, run) }); err != nil {
		// Nobody will be told of it, so it shall not go on.
		if _, err := s.executions.CancelExecution(context.WithoutCancel(ctx), p, ex.ID); err != nil && remuda.CodeOf(err) != remuda.CodeConflict {
			s.log.Warn("a run that could not be recorded goes on", "execution", ex.ID, "error", err)
		}
		return remuda.ScriptRun{}, err
	}
	return run, nil
}

// bind makes the source of a run and the parameters that its variables became.
func (j job) bind() (bound, map[string]json.RawMessage, error) {
	b, err := bind("content", j.content)
	if err != nil {
		return bound{}, nil, err
	}
	byName, err := values(b.used, j.variables, j.given, j.answers)
	if err != nil {
		return bound{}, nil, err
	}
	parameters := make(map[string]json.RawMessage, len(byName))
	for name, value := range byName {
		parameters[b.prefix+name] = value
	}
	if b.source == "" {
		b.source = "\n" // an empty script is a script, which an empty text in a request is not
	}
	return b, parameters, nil
}

// runtime returns the runtime that a script names, or the built-in one.
func (s *Service) runtime(p remuda.Principal, id remuda.RuntimeID) (remuda.Runtime, error) {
	if id == "" {
		return s.runtimes.Builtin(p, remuda.LanguagePython)
	}
	return s.runtimes.Resolve(p, string(id))
}

// Result is a run with what is known of it.
type Result struct {
	Run       remuda.ScriptRun
	Execution remuda.Execution
	Stdout    []byte
	Stderr    []byte
}

// RunResult returns a run by the short id of its execution; with the output once it
// has ended.
func (s *Service) RunResult(ctx context.Context, p remuda.Principal, short string) (Result, error) {
	run, err := s.run(ctx, p, short)
	if err != nil {
		return Result{}, err
	}
	ex, err := s.executions.GetExecution(ctx, p, run.Execution)
	if err != nil {
		return Result{}, err
	}
	return s.withOutput(ctx, p, run, ex, math.MaxInt)
}

func (s *Service) run(ctx context.Context, p remuda.Principal, short string) (run remuda.ScriptRun, err error) {
	if err := authz.Check(p, authz.ExecutionRead, p.Organization); err != nil {
		return run, err
	}
	err = s.store.Read(ctx, func(tx *store.Tx) error {
		run, err = tx.ScriptRun(ctx, p.Organization, short)
		return err
	})
	return run, err
}

// withOutput reads the output of a run that has ended, or its first limit bytes and
// what is in one record with them.
func (s *Service) withOutput(ctx context.Context, p remuda.Principal, run remuda.ScriptRun, ex remuda.Execution, limit int) (Result, error) {
	r := Result{Run: run, Execution: readable(ex, run.Prefix)}
	if !ex.State.Final() {
		return r, nil
	}
	for after := int64(0); ; {
		page, err := s.executions.Output(ctx, p, run.Execution, after, min(limit, pageBytes), 0)
		if err != nil {
			return Result{}, err
		}
		for _, rec := range page.Records {
			if rec.Stream == remuda.StreamStderr {
				r.Stderr = append(r.Stderr, rec.Data...)
			} else {
				r.Stdout = append(r.Stdout, rec.Data...)
			}
		}
		if page.Ended || len(page.Records) == 0 || len(r.Stdout)+len(r.Stderr) >= limit {
			return r, nil
		}
		after = page.Next
	}
}

// readable undoes the rewriting of variables in what a script says of itself.
func readable(ex remuda.Execution, prefix string) remuda.Execution {
	if ex.Error != nil {
		e := *ex.Error
		e.Message, e.Traceback = unbind(e.Message, prefix), unbind(e.Traceback, prefix)
		ex.Error = &e
	}
	return ex
}

// cancelWait is how long Cancel waits for the end that it has asked for.
const cancelWait = 20 * time.Second

// CancelRun ends a run, and returns when it has ended. One that has ended
// before is left as it is.
func (s *Service) CancelRun(ctx context.Context, p remuda.Principal, short string) error {
	if err := authz.Check(p, authz.ExecutionRun, p.Organization); err != nil {
		return err
	}
	run, err := s.run(ctx, p, short)
	if err != nil {
		return err
	}
	if _, err := s.executions.CancelExecution(ctx, p, run.Execution); err != nil {
		if remuda.CodeOf(err) == remuda.CodeConflict {
			return nil
		}
		return err
	}
	ex, err := s.executions.WaitExecution(ctx, p, run.Execution, cancelWait)
	if err == nil && !ex.State.Final() {
		return &remuda.Error{
			Code: remuda.CodeUnavailable, Message: "the run is being ended", Cause: "it has not ended within " + cancelWait.String(),
			Remedy: "look at it again in a moment", RetryAfterSeconds: 5,
		}
	}
	return err
}

// Bounds of a history.
const (
	historyDepth = 20       // among so many last runs one is looked for that has ended
	historyBytes = 64 << 10 // of its output are told
	historyRefs  = 100      // scripts in one call
)

// pageBytes is how much output is read at once.
const pageBytes = 1 << 20

// History returns the last run that has ended of each of the named scripts that
// has one.
func (s *Service) History(ctx context.Context, p remuda.Principal, refs []string) ([]Result, error) {
	if err := authz.Check(p, authz.ExecutionRead, p.Organization); err != nil {
		return nil, err
	}
	if len(refs) > historyRefs {
		return nil, remuda.Invalid(remuda.FieldError{Field: "scriptids", Message: "names more than 100 scripts; ask for them in parts"})
	}
	var ids []remuda.ScriptID
	err := s.each(ctx, p, refs, func(sc remuda.Script) error {
		ids = append(ids, sc.ID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []Result
	for _, id := range ids {
		var runs []remuda.ScriptRun
		err := s.store.Read(ctx, func(tx *store.Tx) error {
			runs, err = tx.ScriptRuns(ctx, p.Organization, id, historyDepth)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, run := range runs {
			ex, err := s.executions.GetExecution(ctx, p, run.Execution)
			if err != nil {
				return nil, err
			}
			if !ex.State.Final() {
				continue
			}
			r, err := s.withOutput(ctx, p, run, ex, historyBytes)
			if err != nil {
				return nil, err
			}
			out = append(out, r)
			break
		}
	}
	return out, nil
}
