package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/runtimes"
)

// recovered is what a start found of the server before it.
type recovered struct {
	instances  []remuda.InstanceID // that were ended
	runspaces  runspaces.Recovery
	executions executions.Recovery
	attached   []engine.Instance // that live on
	took       time.Duration
}

// none reports whether there was nothing.
func (r recovered) none() bool {
	return len(r.instances) == 0 && r.runspaces == runspaces.Recovery{} && r.executions == executions.Recovery{}
}

// recover takes over what an earlier server left, clears away the rest and books
// both, in this order: nothing may be offered whose fence is not in force, and
// nothing be called lost whose sandbox still runs.
func (s *services) recover(ctx context.Context, eng engine.Engine) (r recovered, err error) {
	began := time.Now()
	if err := s.organizations.LoadPolicies(ctx, s.runtimes.PolicyChanged); err != nil {
		return r, err
	}
	if err := s.organizations.LoadLimits(ctx, s.site, s.executions.LimitsChanged); err != nil {
		return r, err
	}
	wanted, lost, err := s.wanted(ctx)
	if err != nil {
		return r, err
	}
	specs := make([]engine.Spec, 0, len(wanted))
	for _, w := range wanted {
		specs = append(specs, w.spec)
	}
	found, err := eng.Recover(ctx, specs)
	r.instances, r.attached = found.Ended, found.Attached
	if err != nil {
		return r, err
	}
	maps.Copy(lost, found.Lost)
	if err := s.layers.Recover(ctx); err != nil {
		return r, err
	}
	if err := s.runtimes.Start(ctx); err != nil {
		return r, err
	}
	attached, err := s.adopt(found.Attached, wanted)
	if err != nil {
		return r, err
	}
	if r.runspaces, err = s.runspaces.Recover(ctx, runspaces.Found{Attached: attached, Lost: lost}); err != nil {
		return r, err
	}
	if r.executions, err = s.executions.Recover(ctx); err != nil {
		return r, err
	}
	r.took = time.Since(began)
	return r, nil
}

// giveBack leaves what was taken over to the next server, after a start that has
// failed at whatever point. What cannot be left ends with the engine.
func (s *services) giveBack(r recovered) error {
	err := within(s.executions.Leave)
	err = errors.Join(err, within(s.runspaces.Leave))
	for _, inst := range r.attached {
		if able, ok := inst.(engine.Detacher); ok {
			_ = within(able.Detach) // its runspace has done it already, if that was reached
		}
	}
	return err
}

// want is an instance of an earlier server that is to live on.
type want struct {
	spec   engine.Spec
	claim  pool.Claim
	stored runtimes.Stored
}

// wanted says which instances are to live on, and why some cannot: what they were
// made from is gone.
func (s *services) wanted(ctx context.Context) (map[remuda.InstanceID]want, map[remuda.InstanceID]string, error) {
	rows, err := s.runspaces.Keep(ctx)
	if err != nil {
		return nil, nil, err
	}
	wanted, lost := map[remuda.InstanceID]want{}, map[remuda.InstanceID]string{}
	for _, row := range rows {
		key := remuda.GenerationKey{Runtime: row.Runtime, Number: row.Generation}
		stored, err := s.runtimes.Stored(ctx, row.Organization, key)
		switch code := remuda.CodeOf(err); {
		case err == nil:
		case code == remuda.CodeNotFound || code == remuda.CodeUnavailable:
			lost[row.Instance] = remuda.Public(err)
			continue
		default:
			return nil, nil, fmt.Errorf("read what runspace %s was made from: %w", row.ID, err)
		}
		w := want{stored: stored, claim: runspaces.Claim(row, stored.Definition)}
		w.spec = pool.Spec(row.Instance, key, stored.Definition, stored.Layers, w.claim)
		w.spec.Linger = s.linger
		wanted[row.Instance] = w
	}
	return wanted, lost, nil
}

// adopt gives every instance that was attached a lease.
func (s *services) adopt(found []engine.Instance, wanted map[remuda.InstanceID]want) (map[remuda.InstanceID]runspaces.Attached, error) {
	attached := make(map[remuda.InstanceID]runspaces.Attached, len(found))
	for _, inst := range found {
		w, ok := wanted[inst.ID()]
		if !ok {
			return nil, remuda.Internal("recovering", fmt.Errorf("the engine has attached %s, which nobody wants", inst.ID()))
		}
		lease, err := s.pool.Adopt(inst, w.spec.Generation, w.stored.Definition, w.stored.Layers, w.claim)
		if err != nil {
			return nil, err
		}
		attached[inst.ID()] = runspaces.Attached{Instance: inst, Lease: lease}
	}
	return attached, nil
}
