package enginetest

import (
	"testing"

	"github.com/remuda-run/remuda/internal/engine"
)

// Ways runs what of the suite looks for a way out of the sandbox, for an engine
// whose Execute brings scripts into the sandbox by another way than the driver.
func Ways(t *testing.T, e engine.Engine) {
	t.Run("kernel", func(t *testing.T) { kernel(t, e) })
	t.Run("network", func(t *testing.T) { network(t, e) })
	for name, attempt := range map[string]func(box){
		"proc": procLeaks, "writes": hostWrites, "files of the host": hostFiles,
		"privileges": privileges, "strangers": strangers, "first process": keeperSecrets, "signals": signalFirst,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			both(t, e, resources, attempt)
		})
	}
}
