package runtimes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/pool"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// step is what a change of a runtime asks for.
type step struct {
	by      remuda.Principal
	next    remuda.Runtime // with the new definition; generation, serving and build are the step's to say
	version string         // of the interpreter that the definition means
	details map[string]string

	// Of a rebuild: the definition is the same and makes a generation all the same.
	again   bool
	refresh bool         // ask the index, whatever is known
	lock    *remuda.Lock // install this, and ask for nothing
}

// generation is a generation that a step makes.
type generation struct {
	def    remuda.Definition
	build  remuda.Build
	layers []engine.Layer // of a build that is ready
}

// advance makes the generations of a step, records them with their audit entry,
// and puts the one that serves in force. old is nil for a new runtime. Needs
// changes.
func (s *Service) advance(ctx context.Context, old *record, st step) (*record, *pool.Retirement, error) {
	made, job := s.plan(old, st)
	newest := made[len(made)-1]
	rec := &record{Runtime: st.next}
	if old != nil {
		*rec = *old
		rec.Runtime = st.next
	}
	rec.Generation, rec.Build = newest.build.Key.Number, newest.build
	serving := -1 // of what is made
	for i, g := range made {
		if g.build.Status == remuda.RuntimeReady {
			serving, rec.Serving = i, g.build.Key.Number
		}
	}
	// Locked before the store is: a log is stored by who holds it, so that whoever
	// waited for it inside a transaction would wait for a waiter.
	unlock := lockLog(s.builder.of(rec.ID))
	defer unlock()
	err := s.store.Write(ctx, func(tx *store.Tx) error { return s.recordStep(ctx, tx, old, rec, made, st, job) })
	if err != nil {
		return nil, nil, err
	}
	s.hand(newest, st, job)
	if serving < 0 {
		if rec.Serving > 0 { // what it is called changes at once
			s.refer(rec)
		}
		s.catalog.put(rec)
		return rec, &pool.Retirement{}, nil
	}
	g := made[serving]
	s.shelf.need(rec.Organization, g.build)
	return rec, s.serve(rec, g.def, g.build, g.layers), nil
}

// lockLog keeps the log of a job from moving on. j may be nil.
func lockLog(j *job) (unlock func()) {
	if j == nil {
		return func() {}
	}
	j.log.mu.Lock()
	return j.log.mu.Unlock
}

// plan says which generations a step makes, the newest last. Before one that has
// to be built first comes one of what serves now with the new policy, if that
// differs: a tighter fence never waits for a build. job is the build under way that
// the newest takes over.
func (s *Service) plan(old *record, st step) (made []generation, job *job) {
	number := 1
	if old != nil {
		number = old.Generation + 1
	}
	key := func() remuda.GenerationKey { return remuda.GenerationKey{Runtime: st.next.ID, Number: number} }
	newest := s.first(old, st)
	if newest.build.Status == remuda.RuntimeBusy && old != nil {
		if d := mixed(old.serves.Definition, st.next.Definition); old.Serving > 0 && !sameInstances(d, old.serves.Definition) {
			between := generation{def: d, build: old.built, layers: old.layers}
			between.build.Key, between.build.StartedAt = key(), newest.build.StartedAt
			between.build.EndedAt = between.build.StartedAt
			made = append(made, between)
			number++
		}
		if j := s.builder.of(st.next.ID); j != nil && !st.again && j.version == st.version && sameBuild(j.def, newest.def) {
			job = j
		}
	}
	newest.build.Key = key()
	return append(made, newest), job
}

// first is the generation of a step's definition: ready when there is nothing to
// be installed, or it is installed already.
func (s *Service) first(old *record, st step) generation {
	d, now := st.next.Definition, remuda.Now()
	g := generation{def: d, build: remuda.Build{Status: remuda.RuntimeReady, Version: st.version, Packages: statuses(d), StartedAt: now, EndedAt: now}}
	if len(d.Packages) == 0 {
		return g
	}
	if from, ok := s.installedBefore(old, st); ok {
		layers, there := s.shelf.find(st.next.Organization, from)
		if there {
			g.build.Lock, g.build.Layer, g.build.Packages, g.layers = from.Lock, from.Layer, carried(d, from.Packages), layers
			return g
		}
	}
	g.build.Status, g.build.EndedAt = remuda.RuntimeBusy, time.Time{}
	return g
}

// installedBefore finds a build that installed what a step wants.
func (s *Service) installedBefore(old *record, st step) (remuda.Build, bool) {
	switch {
	case st.refresh:
		return remuda.Build{}, false
	case st.lock != nil:
		return old.Build, true
	case old != nil && old.Serving > 0 && old.built.Version == st.version && sameBuild(old.serves.Definition, st.next.Definition):
		return old.built, true
	default:
		return s.shelf.known(st.next.Organization, st.next.Definition, st.version)
	}
}

// mixed is what was built for one definition with the policy of the next.
func mixed(built, next remuda.Definition) remuda.Definition {
	d := next.Clone()
	d.Language, d.Version, d.VersionPolicy, d.Environment = built.Language, built.Version, built.VersionPolicy, built.Environment
	d.Packages, d.Preload = built.Packages, built.Preload
	return d
}

// logsKept is of how many of a runtime's newest generations the logs are kept.
const logsKept = 20

// recordStep writes all of a step. Needs the mu of the log of the build under way.
func (s *Service) recordStep(ctx context.Context, tx *store.Tx, old, rec *record, made []generation, st step, job *job) error {
	var err error
	if old == nil {
		err = tx.InsertRuntime(ctx, rec.Runtime)
	} else {
		err = tx.UpdateRuntime(ctx, rec.Runtime)
	}
	if err != nil {
		return err
	}
	for _, g := range made {
		err := errors.Join(tx.InsertGeneration(ctx, rec.Organization, g.build.Key, g.def, g.build.StartedAt), tx.InsertBuild(ctx, rec.Organization, g.build))
		if err != nil {
			return err
		}
		first := []remuda.OutputRecord{{Seq: 1, Stream: remuda.StreamStdout, Data: []byte(headline(g))}}
		if job != nil && g.build.Status == remuda.RuntimeBusy {
			continue // it gets the log of the build that it takes over
		}
		if err := tx.AppendBuildLog(ctx, rec.Organization, g.build.Key, first); err != nil {
			return err
		}
	}
	if err := s.endOld(ctx, tx, old, rec, job); err != nil {
		return err
	}
	if err := tx.PruneBuildLogs(ctx, rec.Organization, rec.ID, rec.Generation-logsKept); err != nil {
		return err
	}
	details := map[string]string{"name": rec.Name, "generation": fmt.Sprint(rec.Generation)}
	if rec.Build.Status != remuda.RuntimeReady {
		details["status"] = string(rec.Build.Status)
	}
	maps.Copy(details, st.details)
	return tx.AppendAudit(ctx, entry(st.by, rec.Organization, rec.ID, rec.Build.StartedAt, details))
}

// endOld ends the build of the generation before, if it goes on: it is replaced,
// or goes on for the new one. Needs the mu of its log.
func (s *Service) endOld(ctx context.Context, tx *store.Tx, old, rec *record, job *job) error {
	if old == nil || old.Build.Status != remuda.RuntimeBusy {
		return nil
	}
	build := old.Build
	if j := s.builder.of(rec.ID); j != nil && j != job {
		build = j.log.build
	} else if job != nil {
		build = job.log.build
		if err := job.log.save(ctx, tx); err != nil {
			return err
		}
		if err := tx.CopyBuildLog(ctx, rec.Organization, rec.ID, old.Generation, rec.Generation); err != nil {
			return err
		}
	}
	build.Status, build.EndedAt = remuda.RuntimeError, rec.Build.StartedAt
	build.Reason = fmt.Sprintf("it was replaced by generation %d before it was ready", rec.Generation)
	return tx.UpdateBuild(ctx, rec.Organization, build)
}

// headline is the first line of a build's log.
func headline(g generation) string {
	asked := "the machine's default"
	if g.def.Version != "" {
		asked = fmt.Sprintf("%s (%s)", g.def.Version, g.def.VersionPolicy)
	}
	line := fmt.Sprintf("generation %d: %s %s, asked for: %s; %d packages\n", g.build.Key.Number, g.def.Language, g.build.Version, asked, len(g.def.Packages))
	if g.build.Layer != "" {
		line += fmt.Sprintf("its packages are installed already: layer %s\n", g.build.Layer)
	}
	return line
}

// hand gives the newest generation to the builder, if it has to be built, and ends
// a build that nobody wants any more. The log of the one that goes on is held.
func (s *Service) hand(newest generation, st step, goesOn *job) {
	switch {
	case newest.build.Status != remuda.RuntimeBusy:
		s.builder.end(st.next.ID)
	case goesOn != nil:
		goesOn.log.build.Key, goesOn.def = newest.build.Key, newest.def
		goesOn.log.build.Packages = carried(newest.def, goesOn.log.build.Packages)
		goesOn.log.saved()
		goesOn.log.dirty = true
	default:
		text := headline(newest)
		s.builder.set(&job{
			runtime: st.next.ID, org: st.next.Organization, def: newest.def, version: st.version, refresh: st.refresh, lock: st.lock,
			log: newBuildLog(s.store, st.next.Organization, newest.build, 1, int64(len(text))),
		})
	}
}

// serve makes a generation the one that instances are made of from now on. Call
// settle after it. Needs changes.
func (s *Service) serve(rec *record, d remuda.Definition, build remuda.Build, layers []engine.Layer) *pool.Retirement {
	rec.built, rec.layers = build, layers
	rec.serves.Definition = d
	s.refer(rec)
	of := s.within(rec.Organization, d)
	of.Version = build.Version
	retired := s.pool.SetGeneration(build.Key, of, layers...)
	s.catalog.put(rec) // last: whoever reads that it serves finds that it does
	return retired
}

// settle waits for what a new generation brings about: what is held loses what the
// list of destinations does not have any more, and the warm instances of the
// generation before are gone. The order of two changes does not matter here.
func (s *Service) settle(ctx context.Context, rec *record, retired *pool.Retirement) {
	if rec.Serving > 0 {
		s.pool.Shorten(rec.ID, rec.serves.Egress)
	}
	if err := retired.Wait(ctx); err != nil {
		// The change is made and takes effect; only the clean-up is still going on.
		s.log.Warn("did not wait for the old generation's warm instances", "runtime", rec.ID, "error", err)
	}
}

// refer brings what is served up to date with what of its runtime makes no
// generation.
func (s *Service) refer(rec *record) {
	d := rec.serves.Definition
	d.Name = rec.Name
	rec.serves = rec.Runtime
	rec.serves.Definition = withWords(d, rec.Definition)
}

// sameInstances reports whether instances of one definition are instances of the
// other.
func sameInstances(a, b remuda.Definition) bool {
	return reflect.DeepEqual(withoutEmpty(a), withoutEmpty(withWords(b, a)))
}

// withWords is d with what is no matter of instances from another definition.
func withWords(d, from remuda.Definition) remuda.Definition {
	d.Description, d.Others = from.Description, from.Others
	d.ConnectionScript, d.DisconnectScript = from.ConnectionScript, from.DisconnectScript
	return d
}

// sameWords reports whether two definitions have the same of that.
func sameWords(a, b remuda.Definition) bool {
	return a.Description == b.Description && a.Others == b.Others && a.ConnectionScript == b.ConnectionScript && a.DisconnectScript == b.DisconnectScript
}

// withoutEmpty makes what is empty nil: the two mean the same.
func withoutEmpty(d remuda.Definition) remuda.Definition {
	if len(d.Env) == 0 {
		d.Env = nil
	}
	if len(d.Preload) == 0 {
		d.Preload = nil
	}
	if len(d.Packages) == 0 {
		d.Packages = nil
	}
	if len(d.Egress.CIDRs) == 0 {
		d.Egress.CIDRs = nil
	}
	if len(d.Egress.Names) == 0 {
		d.Egress.Names = nil
	}
	return d
}
