package fake

import (
	"context"
	"maps"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

var _ engine.Workspacer = (*Instance)(nil)

// workspace is what a sandbox's files were.
type workspace struct{ from *files }

// Close implements engine.Workspace.
func (workspace) Close() error { return nil }

// Workspace implements engine.Workspacer.
func (i *Instance) Workspace(context.Context) (engine.Workspace, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.detached {
		return nil, errDetached()
	}
	if i.ended {
		return nil, &remuda.Error{Code: remuda.CodeUnavailable, Message: "the instance has ended", Cause: i.exit.Reason}
	}
	return workspace{i.files}, nil
}

// inherit copies the files of a workspace.
func (f *files) inherit(w engine.Workspace) {
	of, ok := w.(workspace)
	if !ok {
		return
	}
	of.from.mu.Lock()
	defer of.from.mu.Unlock()
	f.bytes, f.at = maps.Clone(of.from.bytes), maps.Clone(of.from.at)
}
