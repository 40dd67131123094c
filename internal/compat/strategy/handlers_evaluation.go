package strategy

import (
	"net/http"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/scripts"
)

// evaluate runs a content that comes with the request. It belongs to no project.
func (e *edge) evaluate(c *call) error {
	var req evaluationRequest
	if err := c.Read(scriptLimit, &req); err != nil {
		return err
	}
	content, err := decodeContent(req.ScriptContent)
	if err != nil {
		return err
	}
	ev := scripts.ContentRun{Content: content}
	if req.ScriptID != nil {
		ev.Script = upper(*req.ScriptID)
	}
	if req.Variables != nil {
		if ev.Variables, err = variables(*req.Variables); err != nil {
			return err
		}
	}
	if ev.Runtime, err = e.runtimeOf(c, value(req.ScriptRuntimeID)); err != nil {
		return err
	}
	run, err := e.Scripts.RunContent(c.ctx(), c.P, ev)
	return accepted(c, run, err)
}

func (e *edge) evaluateScript(c *call) error {
	var req scriptEvaluationRequest
	if c.R.ContentLength != 0 { // clients send {} or nothing
		if err := c.Read(scriptLimit, &req); err != nil {
			return err
		}
	}
	run, err := e.Scripts.RunScript(c.ctx(), c.P, c.id(), variableValues(req.Variables))
	return accepted(c, run, err)
}

func accepted(c *call, run remuda.ScriptRun, err error) error {
	if err != nil {
		return err
	}
	return c.reply(http.StatusAccepted, idWire{remuda.ShortID(run.Execution)})
}

func (e *edge) getEvaluation(c *call) error {
	result, err := e.Scripts.RunResult(c.ctx(), c.P, c.id())
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, evaluationToWire(result))
}

func (e *edge) cancelEvaluation(c *call) error {
	if err := e.Scripts.CancelRun(c.ctx(), c.P, c.id()); err != nil {
		return err
	}
	return c.noContent()
}

func (e *edge) scriptHistory(c *call) error {
	ids, err := c.list("scriptids")
	if err != nil {
		return err
	}
	results, err := e.Scripts.History(c.ctx(), c.P, ids)
	if err != nil {
		return err
	}
	out := historyWire{History: []historyItemWire{}}
	for _, r := range results {
		out.History = append(out.History, historyToWire(r))
	}
	return c.reply(http.StatusOK, out)
}
