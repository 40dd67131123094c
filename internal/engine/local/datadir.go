package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/remuda-run/remuda/internal/engine/datadir"
	"github.com/remuda-run/remuda/internal/remuda"
)

// dataDir is the engine's part of the data directory:
//
//	engine.lock       held while an engine uses the directory
//	herd              name of the herd: what the engine's cgroup is called
//	run/<id>.sock     where the keeper of an instance listens
//	run/<id>.json     what the instance is (metadata)
//	run/blank-*.sock  where a blank listens, and a template's keeper
//	disk/             file system of the disk images, which have no names
type dataDir struct {
	own       *datadir.Dir
	run, disk string
	herd      string
}

func openDataDir(path string) (*dataDir, error) {
	own, err := datadir.Open(path, "run", "disk")
	if err != nil {
		return nil, err
	}
	return &dataDir{own: own, run: own.Sub("run"), disk: own.Sub("disk"), herd: own.Herd}, nil
}

func (d *dataDir) close() { d.own.Close() }

// randomHex names blanks, forks and what checks make.
var randomHex = datadir.RandomHex

// metadata says what an instance is, for a server that comes later.
type metadata struct {
	ID         remuda.InstanceID    `json:"id"`
	Generation remuda.GenerationKey `json:"generation"`
	Language   remuda.Language      `json:"language"`
	Version    string               `json:"version"`
	Protocol   int                  `json:"protocol"` // that its keeper speaks
	Pid        int                  `json:"pid"`
	StartTime  uint64               `json:"start_time"` // of the process, in clock ticks since boot
	Cgroup     string               `json:"cgroup"`     // name in the herd
	Owner      int                  `json:"owner"`      // host uid and gid of its user 0
	Resources  remuda.Resources     `json:"resources"`  // as they are now
	Linger     time.Duration        `json:"linger"`
	Disk       *imageName           `json:"disk,omitempty"`   // nil when memory backs it
	Shared     *sharedKeeper        `json:"shared,omitempty"` // of a forked instance
}

// sharedKeeper is the keeper of a template, and how it knows a forked instance.
type sharedKeeper struct {
	Name      string `json:"name"` // of its cgroup and socket
	Pid       int    `json:"pid"`
	StartTime uint64 `json:"start_time"`
	User      int    `json:"user"` // the instance's user 0, in the template's range
}

func (d *dataDir) socket(name string) string { return filepath.Join(d.run, name+".sock") }

func (d *dataDir) metadata(id remuda.InstanceID) string {
	return filepath.Join(d.run, string(id)+".json")
}

// writeMetadata need not survive a crash of the machine: the sandbox does not.
func (d *dataDir) writeMetadata(m metadata) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write metadata of %s: %w", m.ID, err)
	}
	tmp := d.metadata(m.ID) + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("write metadata of %s: %w", m.ID, err)
	}
	if err := os.Rename(tmp, d.metadata(m.ID)); err != nil {
		return fmt.Errorf("write metadata of %s: %w", m.ID, err)
	}
	return nil
}

// remove removes files that may be absent already.
func remove(paths ...string) error {
	var errs []error
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
