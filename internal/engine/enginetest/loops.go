package enginetest

import (
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// It never looks at signals: only a kill ends it.
const loopInC = `
import itertools
print("spinning", flush=True)
sum(itertools.repeat(1))
`

// It looks at signals now and then.
const loopInRegexp = `
import re
print("spinning", flush=True)
re.match(r"(a+)+$", "a" * 64 + "b")
`

// What the polite loop does until it is interrupted and when it is, without the
// wait: the measure of this machine, now.
const loopOnce = `
import re
print("spinning", flush=True)
re.match(r"(a+)+$", "a" * 8 + "b")
raise KeyboardInterrupt
`

// loops attempts to outlast the time limit inside the interpreter's own code,
// where no line of the script is ever begun again.
func loops(t *testing.T, e engine.Engine) {
	r := small(256, 16, 24)
	t.Run("C loop", func(t *testing.T) {
		t.Parallel()
		both(t, e, r, func(b box) {
			timeout, _ := loopTime(b.t, e, r)
			got := b.do(engine.Request{Script: loopInC, Timeout: timeout})
			got.wants(remuda.ExecutionTimeout, remuda.KilledByTime).says("spinning").overran(timeout)
			if !got.Dead {
				b.t.Error("it lives")
			}
			if exit := b.gone(); exit.KilledBy != remuda.KilledByTime {
				b.t.Errorf("the instance ended by %q (%s)", exit.KilledBy, exit.Reason)
			}
		})
	})
	t.Run("polite C loop", func(t *testing.T) {
		t.Parallel()
		both(t, e, r, func(b box) {
			timeout, tries := loopTime(b.t, e, r)
			for ; ; b = create(b.t, e, remuda.LanguagePython, r) {
				tries--
				got := b.do(engine.Request{Script: loopInRegexp, Timeout: timeout})
				got.wants(remuda.ExecutionTimeout, remuda.KilledByTime).says("spinning").overran(timeout)
				if !got.Dead {
					b.run("print('alive')").ok().says("alive")
					return
				}
				if tries == 0 {
					b.t.Error("an instance whose script could be interrupted was killed")
					return
				}
			}
		})
	})
}

// loopTime returns a time limit within which a script surely comes to its loop,
// and how often the polite one is tried: the machine may become too slow for the
// grace that follows, and not even the like of it just before can tell.
func loopTime(t *testing.T, e engine.Engine, r remuda.Resources) (timeout time.Duration, tries int) {
	t.Helper()
	started := time.Now()
	b := create(t, e, remuda.LanguagePython, r)
	b.run(loopOnce).wants(remuda.ExecutionError, remuda.KilledByNothing).says("spinning")
	return max(500*time.Millisecond, 8*time.Since(started)), 8
}

// overran checks that the limit was not anticipated, and that it ended the script:
// how soon is up to the machine, which others load too.
func (o outcome) overran(timeout time.Duration) {
	o.t.Helper()
	if o.Usage.Wall != 0 && (o.Usage.Wall < timeout || o.Usage.Wall > timeout+patience/2) {
		o.t.Errorf("with a limit of %s it ran for %s", timeout, o.Usage.Wall)
	}
}
