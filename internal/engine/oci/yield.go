package oci

import "github.com/remuda-run/remuda/internal/engine"

var _ engine.Yielder = (*Engine)(nil)

// Yield implements engine.Yielder.
func (e *Engine) Yield(on bool) {
	e.mu.Lock()
	o := e.opened
	e.mu.Unlock()
	if o == nil {
		return
	}
	if err := o.herd.Yield(on); err != nil {
		e.log.Warn("the weight of all sandboxes could not be changed", "yield", on, "error", err)
	}
}
