package oci

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/remuda-run/remuda/internal/engine/datadir"
	"github.com/remuda-run/remuda/internal/remuda"
)

// dataDir is the engine's part of the data directory:
//
//	engine.lock  held while an engine uses the directory
//	herd         name of the herd: what the engine's cgroup is called
//	run/<id>/    bundle of an instance and runsc's state of it
//	root-*/      the read-only root that sandboxes share
//	spool/       files on their way in or out, which have no names
type dataDir struct {
	*datadir.Dir

	run, spool string
}

func openDataDir(path string) (*dataDir, error) {
	own, err := datadir.Open(path, "run", "spool")
	if err != nil {
		return nil, err
	}
	return &dataDir{Dir: own, run: own.Sub("run"), spool: own.Sub("spool")}, nil
}

func (d *dataDir) bundle(id remuda.InstanceID) string { return filepath.Join(d.run, string(id)) }

// leftovers lists the instances whose bundles are there.
func (d *dataDir) leftovers() ([]remuda.InstanceID, error) {
	entries, err := os.ReadDir(d.run)
	if err != nil {
		return nil, fmt.Errorf("list bundles: %w", err)
	}
	var ids []remuda.InstanceID
	for _, entry := range entries {
		if remuda.IsID(remuda.PrefixInstance, entry.Name()) {
			ids = append(ids, remuda.InstanceID(entry.Name()))
		}
	}
	return ids, nil
}

// sweep removes the files of sandboxes, all of which have ended, and the roots of
// earlier servers.
func (d *dataDir) sweep(root string) error {
	var errs []error
	for _, dir := range []string{d.run, d.spool} {
		entries, err := os.ReadDir(dir)
		errs = append(errs, err)
		for _, entry := range entries {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, entry.Name())))
		}
	}
	old, err := filepath.Glob(d.Sub(rootPrefix + "*"))
	errs = append(errs, err)
	for _, p := range old {
		if p != root {
			errs = append(errs, os.RemoveAll(p))
		}
	}
	return errors.Join(errs...)
}
