package local

import (
	"sync"
	"testing"

	"github.com/remuda-run/remuda/internal/remuda"
)

// TestCloseWhileMaking closes an engine while instances are being made. Each is
// made and destroyed, or given up; open's cleanup looks for what is left.
func TestCloseWhileMaking(t *testing.T) {
	e := open(t, Options{})
	begun := make(chan struct{}, 8)
	var makers sync.WaitGroup
	for range cap(begun) {
		makers.Go(func() {
			spec := templateSpec()
			begun <- struct{}{}
			inst, err := e.Create(t.Context(), spec)
			if err != nil {
				if c := remuda.CodeOf(err); c != remuda.CodeUnavailable && c != remuda.CodeCanceled && c != remuda.CodeInternal {
					t.Errorf("given up with %s: %v", c, err)
				}
				return
			}
			<-inst.Done()
		})
	}
	for range cap(begun) {
		<-begun
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
	makers.Wait()
}
