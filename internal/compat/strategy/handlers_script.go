package strategy

import (
	"net/http"

	"github.com/remuda-run/remuda/internal/remuda"
)

func (e *edge) createScript(c *call) error {
	var req scriptRequest
	if err := c.Read(scriptLimit, &req); err != nil {
		return err
	}
	c.Comment(req.ChangeJournal.text())
	patch, err := e.scriptPatch(c, req)
	if err != nil {
		return err
	}
	sc, err := e.Scripts.CreateScript(c.ctx(), c.P, newScript(patch))
	if err != nil {
		return taken(err)
	}
	return c.created(remuda.ShortID(sc.ID), func() (any, error) {
		owner, err := e.owner(c, sc)
		return scriptToWire(sc, owner, c.P), err
	})
}

// scriptPatch reads a request; the runtime that it names must be there.
func (e *edge) scriptPatch(c *call, req scriptRequest) (remuda.ScriptPatch, error) {
	patch, err := scriptPatch(req)
	if err != nil || req.ScriptRuntimeID == nil {
		return patch, err
	}
	runtime, err := e.runtimeOf(c, *req.ScriptRuntimeID)
	patch.Runtime = &runtime
	return patch, err
}

// runtimeOf is the runtime that a script names; "" for the default one.
func (e *edge) runtimeOf(c *call, id string) (remuda.RuntimeID, error) {
	if id = upper(id); id == "" || id == defaultRuntime {
		return "", nil
	}
	rt, err := e.find(c, id)
	return rt.ID, err
}

func (e *edge) listScripts(c *call) error {
	ids, err := c.list("ids")
	if err != nil {
		return err
	}
	list, err := e.Scripts.GetScripts(c.ctx(), c.P, ids)
	if err != nil {
		return err
	}
	out := scriptListWire{TotalItems: len(list), Result: []scriptItemWire{}}
	names := keysOf(c.R.URL.Query().Get("fields"))
	wanted := func(field string) bool { return len(names) == 0 || names[field] || names["result"] }
	for _, sc := range list {
		// What may be large is not encoded only to be left out.
		if !wanted("scriptContent") {
			sc.Content = ""
		}
		if !wanted("variables") {
			sc.Variables = nil
		}
		out.Result = append(out.Result, scriptToItem(sc, c.P))
	}
	return c.reply(http.StatusOK, out)
}

func (e *edge) getScript(c *call) error {
	sc, err := e.Scripts.GetScript(c.ctx(), c.P, c.id())
	if err != nil {
		return err
	}
	owner, err := e.owner(c, sc)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, scriptToWire(sc, owner, c.P))
}

// owner names a script's owner; without a name if that is no member any more.
func (e *edge) owner(c *call, sc remuda.Script) (ownerWire, error) {
	owner := ownerWire{ID: remuda.ShortID(sc.Owner)}
	if sc.Owner == c.P.User {
		owner.Name = c.P.UserName
		return owner, nil
	}
	members, err := e.Organizations.ListMembers(c.ctx(), c.P, string(c.P.Organization))
	for _, m := range members {
		if m.User == sc.Owner {
			owner.Name = m.UserName
		}
	}
	return owner, err
}

func (e *edge) updateScript(c *call) error {
	var req scriptRequest
	if err := c.Read(scriptLimit, &req); err != nil {
		return err
	}
	c.Comment(req.ChangeJournal.text())
	patch, err := e.scriptPatch(c, req)
	if err != nil {
		return err
	}
	if _, err := e.Scripts.UpdateScript(c.ctx(), c.P, c.id(), patch); err != nil {
		return taken(err)
	}
	return c.noContent()
}

func (e *edge) deleteScript(c *call) error {
	c.Comment(c.R.URL.Query().Get("userComments"))
	if err := e.Scripts.DeleteScript(c.ctx(), c.P, c.id()); err != nil {
		return err
	}
	return c.noContent()
}

func (e *edge) getAnswers(c *call) error {
	_, answers, err := e.Scripts.Answers(c.ctx(), c.P, c.id())
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, answersToWire(answers))
}

func (e *edge) putAnswers(c *call) error {
	var req answersWire
	if err := c.Read(bodyLimit, &req); err != nil {
		return err
	}
	answers, err := e.Scripts.PutAnswers(c.ctx(), c.P, c.id(), variableValues(req.Answers))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, answersToWire(answers))
}
