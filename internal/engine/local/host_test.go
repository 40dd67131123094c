package local

import (
	"testing"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// TestAnotherClassIsRefused: what this engine cannot enforce it does not make.
func TestAnotherClassIsRefused(t *testing.T) {
	e := open(t, Options{Blanks: -1})
	_, err := e.Create(t.Context(), engine.Spec{
		ID: remuda.NewInstanceID(), Language: remuda.LanguageBash, Isolation: remuda.IsolationGVisor,
		Resources: remuda.Resources{CPU: 1, MemoryMB: 64, DiskMB: 16, Pids: 32},
	})
	if remuda.CodeOf(err) != remuda.CodeUnsupported {
		t.Errorf("the error is %v", err)
	}
}
