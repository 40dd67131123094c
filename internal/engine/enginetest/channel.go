package enginetest

import (
	"sync"
	"testing"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// channel attempts to use the way between driver and keeper. The worst that may
// come of it is the end of that instance; another one notices nothing.
func channel(t *testing.T, e engine.Engine) {
	neighbor := create(t, e, remuda.LanguagePython, resources)
	var turn sync.Mutex // of the neighbor
	for name, script := range map[string]string{
		"garbage on all descriptors": `
import os
print("writing", flush=True)
for fd in range(3, 1024):
    try: os.write(fd, os.urandom(4096))
    except OSError: pass
`,
		"closing all descriptors": `
import os
print("writing", flush=True)
os.closerange(3, 4096)
`,
		"large frames": `
import os
print("writing", flush=True)
for fd in range(3, 64):
    try: os.write(fd, b"\xff" * 65536)
    except OSError: pass
`,
		"reading all descriptors": `
import os
print("writing", flush=True)
for fd in range(3, 1024):
    try:
        os.set_blocking(fd, False)
        os.read(fd, 65536)
    except OSError: pass
`,
	} {
		t.Run(name, func(t *testing.T) {
			both(t, e, resources, func(b box) {
				got := b.run(script)
				got.says("writing")
				if !got.State.Final() || got.State == remuda.ExecutionLost {
					b.t.Errorf("ended as %s by %q: %s", got.State, got.KilledBy, got.Reason)
				}
				if !got.Dead && b.Alive() {
					// It survived: then it must also work.
					b.run("print('works')")
				}
				turn.Lock()
				defer turn.Unlock()
				box{Instance: neighbor.Instance, t: b.t}.run("print('well')").ok().says("well")
			})
		})
	}
}
