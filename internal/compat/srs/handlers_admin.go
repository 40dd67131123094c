package srs

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
)

// The administrator's service (compat/srs.md A5). The vendor has one account for it;
// here it is whoever administers the organization, and what is set is its own.

func (e *edge) providerSettings(c *call) error {
	_, inForce, err := e.Limits.GetLimits(c.ctx(), c.P, string(c.P.Organization))
	if err != nil {
		return err
	}
	return c.ok(providerToWire(inForce))
}

func (e *edge) updateProviderSettings(c *call) error {
	var req providerSettings
	if err := c.read(bodyLimit, &req); err != nil {
		return err
	}
	inForce, err := e.limit(c, providerPatch(req))
	if err != nil {
		return err
	}
	return c.ok(providerToWire(inForce))
}

func (e *edge) retentionPolicy(c *call) error {
	_, inForce, err := e.Limits.GetLimits(c.ctx(), c.P, string(c.P.Organization))
	if err != nil {
		return err
	}
	return c.ok(retentionToWire(inForce))
}

func (e *edge) updateRetentionPolicy(c *call) error {
	var req retentionPolicy
	if err := c.read(bodyLimit, &req); err != nil {
		return err
	}
	inForce, err := e.limit(c, retentionPatch(req))
	if err != nil {
		return err
	}
	return c.ok(retentionToWire(inForce))
}

func (e *edge) limit(c *call, patch remuda.LimitsPatch) (remuda.Limits, error) {
	_, inForce, err := e.Limits.UpdateLimits(c.ctx(), c.P, string(c.P.Organization), patch)
	return inForce, err
}

// logTypes are the vendor's names of logs. Each is the organization's audit log here:
// the server's own logs are the site's and not an organization's to read.
var logTypes = []string{"setup", "api-gateway", "admin-api"}

// maxLogPages bounds a log; a page has 200 entries.
const maxLogPages = 5

func (e *edge) logs(c *call) error {
	if kind := c.R.URL.Query().Get("type"); kind != "" && !slices.Contains(logTypes, strings.ToLower(kind)) {
		return remuda.Invalid(remuda.FieldError{Field: "type", Message: "must be one of " + strings.Join(logTypes, ", ")})
	}
	var lines []string
	page := remuda.Page{Limit: 200}
	for range maxLogPages {
		entries, next, err := e.Audit.List(c.ctx(), c.P, page)
		if err != nil {
			return err
		}
		lines = append(lines, each(entries, logLine)...)
		if page.Cursor = next; next == "" {
			break
		}
	}
	slices.Reverse(lines) // the newest at the end, as in a file
	return c.page("text/plain; charset=utf-8", []byte(strings.Join(lines, "")))
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// administers refuses whoever may not change the settings of the organization, where
// no service is asked for anything.
func administers(c *call) error { return authz.Check(c.P, authz.LimitsWrite, c.P.Organization) }

// registration says that no vCenter is registered, as the vendor's server does before
// that was done.
func (e *edge) registration(c *call) error {
	if err := administers(c); err != nil {
		return err
	}
	return notFound(http.StatusNotFound, "No vCenter is registered")
}

// register keeps no password of a vCenter: a connection script gets what it needs from
// whoever asks for the runspace.
func (e *edge) register(c *call) error {
	var req registrationWire
	if err := c.read(bodyLimit, &req); err != nil {
		return err
	}
	if err := administers(c); err != nil {
		return err
	}
	return &remuda.Error{
		Code: remuda.CodeUnsupported, Message: "a vCenter cannot be registered here", Cause: "this server keeps no credentials of other systems",
		Remedy: "store a connection script, name it in the setting compat_srs_connection_script, and send credentials with POST /api/runspaces",
	}
}
