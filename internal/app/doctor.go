package app

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"github.com/remuda-run/remuda/internal/config"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/layer"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Doctor tries everything that sandboxes need on this machine, in a directory of
// its own, and leaves nothing behind.
func Doctor(ctx context.Context, c config.Config, log *slog.Logger) (findings []engine.Finding, err error) {
	dir, err := os.MkdirTemp("", "remuda-doctor-")
	if err != nil {
		return nil, remuda.Internal("making a directory for the checks", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	eng, err := newLocalEngine(ctx, c, dir, log)
	if err != nil {
		// What keeps an engine from being made is the finding.
		f := engine.Finding{Name: "engine", Detail: err.Error()}
		if e, ok := errors.AsType[*remuda.Error](err); ok {
			f.Remedy = e.Remedy
		}
		return []engine.Finding{f}, nil
	}
	findings = append(eng.CheckAll(ctx), layer.CheckMachine(ctx)...)
	return findings, within(eng.Close)
}
