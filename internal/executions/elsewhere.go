package executions

import (
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// placements is on how many instances a one-shot execution is tried at most. An
// instance may die between the look at it and its first script, killed from
// outside or by the kernel; after the first such death none that waits is trusted.
const placements = 3

// executeSomewhere runs the script on the instance that r has got, and on another one
// as long as the instance turns out to have died before the script began. A script
// that may have begun is never run again.
func (s *Service) executeSomewhere(r *run) engine.Result {
	res := s.execute(r, r.got)
	for tried := 1; res.Unstarted && tried < placements && r.cancelReason() == ""; tried++ {
		found, err := s.placeElsewhere(r, res)
		if err != nil {
			s.log.Error("no other instance for an execution whose own had died before its script began", "execution", r.id, "error", err)
			res.Reason += "; no other instance could be had: " + remuda.Public(err)
			return s.judge(r, res) // it may have been canceled meanwhile
		}
		if !found {
			return res
		}
		res = s.execute(r, r.got)
	}
	return res
}

// placeElsewhere gets r another instance than the one that died, if its place has
// others. After an error r has none.
func (s *Service) placeElsewhere(r *run, res engine.Result) (bool, error) {
	lease, err := r.place.another()
	if err != nil || lease == nil {
		return false, err
	}
	s.log.Warn("an instance had died before its script began; the execution gets another one", "execution", r.id, "instance", r.got.ID(), "reason", res.Reason, "request", r.p.RequestID)
	r.place, r.def = oneShot{lease}, lease.Definition()
	r.mu.Lock()
	r.row.Generation = lease.Generation().Number
	r.mu.Unlock()
	// The runtime may be another one by now.
	var c checker
	if c.within(r.req, r.def); c.err() != nil {
		return false, c.err() // the end of the run releases the place
	}
	return true, s.start(r)
}
