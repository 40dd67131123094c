package runtimes

import (
	"context"
	"errors"
	"fmt"

	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// Stored is a generation as an instance of it is to go on.
type Stored struct {
	Definition remuda.Definition // with the network that is in force for its instances now
	Layers     []engine.Layer
}

// Stored reads a generation of which org holds an instance, whether it serves or
// not. Its list of destinations is what it has in common with those of every
// generation that came to serve after it, as a change of a runtime brings it about
// for what is held, and the rules are those of org. Its layers are needed from now
// on, for as long as the pool knows the generation.
func (s *Service) Stored(ctx context.Context, org remuda.OrganizationID, key remuda.GenerationKey) (Stored, error) {
	var rt remuda.Runtime
	var build remuda.Build
	var d remuda.Definition
	err := s.store.Read(ctx, func(tx *store.Tx) (err error) {
		if rt, err = heldRuntime(ctx, tx, org, key.Runtime); err != nil {
			return err
		}
		if d, err = tx.Generation(ctx, rt.Organization, key); err != nil {
			return err
		}
		if build, err = loadBuild(ctx, tx, rt, key.Number); err != nil {
			return err
		}
		d.Egress, err = shortened(ctx, tx, rt, key, d.Egress)
		return err
	})
	if err != nil {
		return Stored{}, err
	}
	layers, there := s.shelf.find(rt.Organization, build)
	if !there {
		return Stored{}, &remuda.Error{
			Code: remuda.CodeUnavailable, Message: fmt.Sprintf("the packages of generation %d of runtime %q are gone", key.Number, rt.Name),
			Cause: "layer " + string(build.Layer) + " is not in the data directory", Remedy: "build the runtime again",
		}
	}
	s.shelf.need(rt.Organization, build)
	d.Version = build.Version
	d.Egress.Within = s.set.rules(org)
	return Stored{Definition: d, Layers: layers}, nil
}

// heldRuntime is a runtime that org may hold an instance of: its own, or a global
// one.
func heldRuntime(ctx context.Context, tx *store.Tx, org remuda.OrganizationID, id remuda.RuntimeID) (rt remuda.Runtime, err error) {
	for _, owner := range []remuda.OrganizationID{org, remuda.GlobalOrganization} {
		if rt, err = tx.Runtime(ctx, owner, id); remuda.CodeOf(err) != remuda.CodeNotFound {
			return rt, err
		}
	}
	return rt, &remuda.Error{Code: remuda.CodeNotFound, Message: "its runtime was deleted", Cause: "there is no runtime " + string(id), Remedy: "use another runtime"}
}

// shortened is what a list has in common with those of all later generations that
// were ready.
func shortened(ctx context.Context, tx *store.Tx, rt remuda.Runtime, key remuda.GenerationKey, reach remuda.Egress) (remuda.Egress, error) {
	for number := key.Number + 1; number <= rt.Generation && !reach.None(); number++ {
		later := remuda.GenerationKey{Runtime: rt.ID, Number: number}
		build, err := loadBuild(ctx, tx, rt, number)
		if err == nil && build.Status != remuda.RuntimeReady && build.Status != remuda.RuntimeUnknown {
			continue // nothing was ever made of it
		}
		d, otherErr := tx.Generation(ctx, rt.Organization, later)
		if err := errors.Join(err, otherErr); err != nil {
			return reach, err
		}
		if !egress.Narrows(reach, d.Egress) {
			reach = egress.Intersect(reach, d.Egress)
		}
	}
	return reach, nil
}
