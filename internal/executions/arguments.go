package executions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// argument is what the script of a parameter sees its value as.
const argument = "argument"

// parameterScripts checks what runs before the script.
func (c *checker) parameterScripts(req remuda.ExecutionRequest) {
	if len(req.ParameterScripts) == 0 {
		return
	}
	if req.Runspace == "" {
		c.add("parameter_scripts", "run in a runspace only: the script of a one-shot execution can compute its parameters itself")
	}
	if n := len(req.ParameterScripts) + len(req.Parameters); n > maxParameters {
		c.add("parameter_scripts", "and parameters have %d names; at most %d are allowed", n, maxParameters)
		return
	}
	seen := map[string]bool{}
	scripts, values := 0, 0
	for i, ps := range req.ParameterScripts {
		field := fmt.Sprintf("parameter_scripts[%d]", i)
		scripts, values = scripts+len(ps.Script), values+len(ps.Value)
		if !identifier.MatchString(ps.Name) {
			c.add(field+".name", "is %q, which is no identifier of at most 64 letters, digits and underscores", shorten(ps.Name))
		} else if _, given := req.Parameters[ps.Name]; given || seen[ps.Name] {
			c.add(field+".name", "names the parameter %q, which is given already", ps.Name)
		}
		seen[ps.Name] = true
		if ps.Script == "" || !utf8.ValidString(ps.Script) {
			c.add(field+".script", "must be a script in valid UTF-8")
		}
		if len(ps.Value) > 0 && !json.Valid(ps.Value) {
			c.add(field+".value", "must be a JSON value")
		}
	}
	c.size("parameter_scripts", scripts, remuda.MaxScriptBytes)
	c.size("parameter_scripts", values, maxParameterBytes)
}

// arguments runs the scripts of parameters, one after the other, in the interpreter
// that the script will run in, and returns what they have used. The first that fails
// is the end of the execution: failed. All of them and the script share one time limit.
//
// They are no executions of their own, and what they print is no one's output. Each
// runs under an id of its own, so that a server that finds one running after a
// restart does not take its end for that of the execution.
func (s *Service) arguments(ctx context.Context, r *run, inst engine.Instance, timeout time.Duration) (used remuda.Usage, failed *engine.Result) {
	began := time.Now()
	for _, ps := range r.req.ParameterScripts {
		if !r.setInstance(inst) {
			return used, &engine.Result{
				State: remuda.ExecutionCanceled, KilledBy: remuda.KilledByCancel, Dead: !inst.Alive(), Usage: used,
				Reason: r.cancelReason() + " before the script started",
			}
		}
		res, err := inst.Execute(ctx, s.argumentRequest(r, ps, max(timeout-used.Wall, time.Millisecond)), nil)
		r.setInstance(nil)
		if errors.Is(err, engine.ErrDetached) { // the next server finds nothing of ours running, and says so
			r.left = true
			return used, &res
		}
		if err != nil {
			res = s.broken(ctx, r, inst, false, err)
		}
		used = usedToo(used, res.Usage)
		used.Wall = time.Since(began)
		if res.State == remuda.ExecutionSuccess && !res.Dead {
			continue
		}
		res = s.judge(r, argumentFailed(ps.Name, res, used))
		return used, &res
	}
	return used, nil
}

func (s *Service) argumentRequest(r *run, ps remuda.ParameterScript, timeout time.Duration) engine.Request {
	req := engine.Request{
		ID: remuda.NewExecutionID(), Script: ps.Script, Name: "<parameter " + ps.Name + ">", Assign: ps.Name,
		Env: withIdentity(merge(r.place.env(), r.req.Env), r.req.Identity), Timeout: timeout, OutputLimit: s.set.OutputLimit,
	}
	if len(ps.Value) > 0 {
		req.Parameters = map[string]json.RawMessage{argument: ps.Value}
		if ps.Name != argument { // which would have its new value by then
			req.Scratch = []string{argument}
		}
	}
	return req
}

// argumentFailed is the end of an execution whose parameter's script has failed.
func argumentFailed(name string, res engine.Result, used remuda.Usage) engine.Result {
	why := res.Reason
	if why == "" && res.State == remuda.ExecutionSuccess {
		why = "it ended its interpreter"
	} else if why == "" {
		why = reasonOf(res)
	}
	if res.State == remuda.ExecutionSuccess {
		res.State = remuda.ExecutionError
	}
	res.Reason = fmt.Sprintf("the script of parameter %q failed: %s", name, why)
	res.Value, res.LastSeq, res.OutputCut, res.Unstarted, res.Usage = nil, 0, 0, false, used
	return res
}

// usedToo adds up what scripts used one after the other.
func usedToo(a, b remuda.Usage) remuda.Usage {
	return remuda.Usage{CPU: a.CPU + b.CPU, Wall: a.Wall + b.Wall, PeakMemory: max(a.PeakMemory, b.PeakMemory)}
}
