package pool

import (
	"fmt"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Claim is what a lease is wanted for.
type Claim struct {
	Runtime remuda.RuntimeID
	// Organization is whose lease it is, which may not be the runtime's.
	Organization remuda.OrganizationID
	// Limits and Egress are as in remuda.ExecutionRequest. That they are not
	// above the runtime's is the caller's to check.
	Limits remuda.Resources
	Egress *remuda.Egress
	// Within are the network rules of the organization.
	Within []remuda.EgressRules

	distrust string // why no warm instance is wanted, "" if one is
}

// Another releases the lease, whose instance was found dead, and reserves another
// instance for the same claim: a new one, since what has ended this one may have
// ended others that wait.
func (l *Lease) Another() (*Lease, error) {
	if l.Warm() {
		l.pool.metrics.DeadWarm()
	}
	l.Release()
	claim := l.claim
	claim.distrust = "a warm instance had died before the script began"
	return l.pool.Reserve(claim)
}

// withinShare refuses an organization that holds as many instances as it may.
// Needs mu.
func (p *Pool) withinShare(org remuda.OrganizationID) error {
	share, spent := p.spent(org)
	if !spent {
		return nil
	}
	return &remuda.Error{
		Code: remuda.CodeExhausted, Message: "no instance can be started now",
		Cause:             fmt.Sprintf("the organization holds %d instances, which is its share of this node", share),
		Remedy:            "try again shortly, close runspaces that are not needed, or ask a site administrator for a larger share (max_instances)",
		RetryAfterSeconds: 1,
	}
}

// spent says what an organization's share is, and whether it holds all of it. Needs mu.
func (p *Pool) spent(org remuda.OrganizationID) (share int, all bool) {
	if p.set.Share == nil {
		return 0, false
	}
	share = p.set.Share(org)
	return share, share > 0 && p.held[org] >= share
}
