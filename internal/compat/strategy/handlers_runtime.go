package strategy

import (
	"net/http"

	"github.com/remuda-run/remuda/internal/remuda"
)

// pageSize is how many runtimes are asked for at once.
const pageSize = 200

// listRuntimes lists those for Python, since scripts here are Python; the default
// one first.
func (e *edge) listRuntimes(c *call) error {
	owners, err := e.owners(c)
	if err != nil {
		return err
	}
	list := []runtimeWire{}
	if rt, err := e.Runtimes.Builtin(c.P, remuda.LanguagePython); err == nil {
		list = append(list, runtimeToWire(rt, owners, c.P))
	} else if remuda.CodeOf(err) != remuda.CodeNotFound {
		return err
	}
	for page := (remuda.Page{Limit: pageSize}); ; {
		some, next, err := e.Runtimes.ListRuntimes(c.ctx(), c.P, "", page)
		if err != nil {
			return err
		}
		for _, rt := range some {
			if rt.Language == remuda.LanguagePython && !isDefault(rt) {
				list = append(list, runtimeToWire(rt, owners, c.P))
			}
		}
		if next == "" {
			return c.reply(http.StatusOK, runtimesWire{list})
		}
		page.Cursor = next
	}
}

// owners names the organization that owns the principal's runtimes.
func (e *edge) owners(c *call) (ownerWire, error) {
	org, err := e.Organizations.GetOrganization(c.ctx(), c.P, string(c.P.Organization))
	if remuda.CodeOf(err) == remuda.CodeNotFound { // a site administrator's, who is a member of none
		return administrator, nil
	}
	return ownerWire{Name: org.Name, ID: remuda.ShortID(org.ID)}, err
}

// find returns the runtime that an id of the vendor's form names.
func (e *edge) find(c *call, id string) (remuda.Runtime, error) {
	if id == defaultRuntime {
		return e.Runtimes.Builtin(c.P, remuda.LanguagePython)
	}
	rt, err := e.Runtimes.ResolveShort(c.P, id)
	if err == nil && isDefault(rt) {
		return rt, remuda.NotFound("runtime", id) // it has one id
	}
	if err == nil && rt.Language != remuda.LanguagePython {
		return rt, remuda.NotFound("runtime", id)
	}
	return rt, err
}

func (e *edge) getRuntime(c *call) error {
	rt, err := e.find(c, c.id())
	if err != nil {
		return err
	}
	return e.showRuntime(c, http.StatusOK, rt)
}

func (e *edge) showRuntime(c *call, status int, rt remuda.Runtime) error {
	owners, err := e.owners(c)
	if err != nil {
		return err
	}
	return c.reply(status, runtimeToWire(rt, owners, c.P))
}

func (e *edge) createRuntime(c *call) error {
	var req runtimeRequest
	if err := c.Read(bodyLimit, &req); err != nil {
		return err
	}
	c.Comment(req.ChangeJournal.text())
	d, err := definition(req, e.options.Versions)
	if err != nil {
		return err
	}
	rt, err := e.Runtimes.CreateRuntime(c.ctx(), c.P, d)
	if err != nil {
		return taken(err)
	}
	return c.created(remuda.ShortID(rt.ID), func() (any, error) {
		owners, err := e.owners(c)
		return runtimeToWire(rt, owners, c.P), err
	})
}

func (e *edge) updateRuntime(c *call) error {
	var req runtimeRequest
	if err := c.Read(bodyLimit, &req); err != nil {
		return err
	}
	c.Comment(req.ChangeJournal.text())
	rt, err := e.find(c, c.id())
	if err != nil {
		return err
	}
	patch, err := runtimePatch(req, e.options.Versions)
	if err != nil {
		return err
	}
	if isDefault(rt) && patch.Name != nil {
		if *patch.Name != defaultName {
			return keepDefault("renamed")
		}
		patch.Name = nil // it is shown by another name than its own
	}
	if _, err := e.Runtimes.UpdateRuntime(c.ctx(), c.P, string(rt.ID), patch); err != nil {
		return taken(err)
	}
	return c.noContent()
}

func keepDefault(what string) error {
	return special{&remuda.Error{
		Code: remuda.CodeForbidden, Message: "the default runtime cannot be " + what, Cause: "scripts that name no runtime run on it", Remedy: "make a runtime of your own",
	}, codePermission}
}

func (e *edge) deleteRuntime(c *call) error {
	c.Comment(c.R.URL.Query().Get("userComments"))
	rt, err := e.find(c, c.id())
	if err != nil {
		return err
	}
	if isDefault(rt) {
		return keepDefault("deleted")
	}
	if err := e.Runtimes.DeleteRuntime(c.ctx(), c.P, string(rt.ID), remuda.Deletion{}); err != nil {
		return err
	}
	return c.noContent()
}

func (e *edge) runtimeVersions(c *call) error {
	versions, err := e.Runtimes.VersionNames(c.ctx(), c.P, remuda.LanguagePython)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, versionsWire{versions})
}
