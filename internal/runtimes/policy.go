package runtimes

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
)

// policy is what an organization may do, nothing for the global one: what is
// built in has the site's rules alone.
func (s Settings) policy(org remuda.OrganizationID) remuda.Policy {
	if s.Policies == nil || org == remuda.GlobalOrganization {
		return remuda.Policy{}
	}
	return s.Policies.Policy(org)
}

// permits says why org may not have a runtime of a class, "" if it may.
func (s Settings) permits(org remuda.OrganizationID, class remuda.Isolation) string {
	allowed := s.policy(org).Isolations
	switch {
	case !slices.Contains(s.Isolations, class):
		return fmt.Sprintf("must be one of %s on this site; its operator decides that with isolation_classes", list(s.Isolations))
	case len(allowed) > 0 && !slices.Contains(allowed, class):
		return fmt.Sprintf("must be one of %s in this organization; a site administrator decides that", list(allowed))
	}
	return ""
}

// offers says why this machine has no sandboxes of a class, "" if it has.
func (s Settings) offers(class remuda.Isolation) string {
	if s.Available == nil {
		return ""
	}
	err := s.Available(class)
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*remuda.Error](err); ok {
		return e.Message + ": " + e.Cause + "; " + e.Remedy
	}
	return err.Error()
}

// rules are the network rules of an organization, none where it has none.
func (s Settings) rules(org remuda.OrganizationID) []remuda.EgressRules {
	if r := s.policy(org).Network; !r.None() {
		return []remuda.EgressRules{r}
	}
	return nil
}

// checkPolicy returns what of a definition its owner may not have.
func (s Settings) checkPolicy(owner remuda.OrganizationID, d remuda.Definition) []remuda.FieldError {
	var c checker
	if slices.Contains(remuda.Isolations(), d.Isolation) {
		c.text("isolation", s.permits(owner, d.Isolation))
		c.text("isolation", s.offers(d.Isolation))
	}
	if d.Isolation == remuda.IsolationGVisor && !d.Egress.None() {
		c.text("egress", "must be empty: sandboxes of the class gvisor reach no network; use isolation process")
	}
	var rules []egress.Rules
	for _, r := range s.rules(owner) {
		rules = append(rules, egress.Rules(r))
	}
	return append(c.fields, egress.Check(d.Egress, egress.Site{Rules: s.Network}, rules...)...)
}

// Usable is Resolve for whoever is to make an instance. Its definition is that of
// the generation that serves, with the network rules of the principal's
// organization. It refuses a runtime of which nothing is ready, one that is being
// deleted, and one whose class of isolation that organization may not use now.
func (s *Service) Usable(p remuda.Principal, ref string) (remuda.Runtime, error) {
	rec, err := s.resolve(p, ref)
	if err != nil {
		return remuda.Runtime{}, err
	}
	if rec.deleting {
		return remuda.Runtime{}, errDeleting(rec)
	}
	if rec.Serving == 0 {
		return remuda.Runtime{}, errNotReady(rec)
	}
	rt := rec.serves
	if why := s.set.permits(p.Organization, rt.Isolation); why != "" {
		return remuda.Runtime{}, &remuda.Error{
			Code: remuda.CodeForbidden, Message: fmt.Sprintf("runtime %q cannot be used", rt.Name), Cause: "its isolation " + why,
			Remedy: "change the runtime's isolation, or use another runtime",
		}
	}
	rt.Egress.Within = s.set.rules(p.Organization)
	return rt, nil
}

// errNotReady says why nothing of a runtime can run yet.
func errNotReady(rec *record) error {
	e := &remuda.Error{
		Code: remuda.CodeUnavailable, Message: fmt.Sprintf("runtime %q cannot be used yet", rec.Name),
		Cause:             fmt.Sprintf("the packages of generation %d are being installed, and no generation before it was ready", rec.Generation),
		Remedy:            "wait until its status is ready, then send the request again",
		RetryAfterSeconds: 2,
	}
	if rec.Build.Status == remuda.RuntimeError {
		e.Cause = fmt.Sprintf("generation %d could not be built: %s", rec.Generation, shorten(rec.Build.Reason))
		e.Remedy = fmt.Sprintf("read the log of build %d, change the runtime's packages, or build it again", rec.Generation)
		e.RetryAfterSeconds = 0
	}
	return e
}

// errDeleting refuses what comes while a runtime is being deleted.
func errDeleting(rec *record) error {
	return &remuda.Error{
		Code: remuda.CodeConflict, Message: fmt.Sprintf("runtime %q is being deleted", rec.Name), Cause: "what runs on it is waited for",
		Remedy: "use another runtime",
	}
}

// PolicyChanged puts the present network rules of an organization in force, for
// the warm instances of its runtimes and for whatever it holds. When it returns
// they are.
func (s *Service) PolicyChanged(org remuda.OrganizationID) {
	s.changes.Lock()
	defer s.changes.Unlock()
	rules := s.set.rules(org)
	var gone []*pool.Retirement
	for _, rec := range s.catalog.all() {
		if rec.Organization == org {
			gone = append(gone, s.pool.SetRules(rec.ID, rules))
		}
	}
	s.pool.Confine(org, rules)
	for _, r := range gone {
		if err := r.Wait(context.Background()); err != nil {
			s.log.Error("did not wait for warm instances of before a change of policy", "organization", org, "error", err)
		}
	}
}

// within returns d as instances of its owner's are made from it.
func (s *Service) within(owner remuda.OrganizationID, d remuda.Definition) remuda.Definition {
	d.Egress.Within = s.set.rules(owner)
	return d
}
