package layer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// young is how long a layer is kept that nobody uses yet: its generation may be
// about to be recorded.
const young = 15 * time.Minute

// Collect removes the layers that are not used, and locks that are too old. used
// lists, for each organization, the layers of all generations that can still be
// served; a layer that a living sandbox has mounted stays in any case.
func (m *Maker) Collect(ctx context.Context, used map[remuda.OrganizationID][]remuda.LayerID) error {
	return m.collect(ctx, used, time.Now().Add(-young))
}

// collect spares what was made or found after since.
func (m *Maker) collect(ctx context.Context, used map[remuda.OrganizationID][]remuda.LayerID, since time.Time) error {
	orgs, err := os.ReadDir(m.store.dir)
	if err != nil {
		return remuda.Internal("collecting layers", err)
	}
	var errs []error
	for _, o := range orgs {
		org := remuda.OrganizationID(o.Name())
		if !o.IsDir() || !plainOrg(org) {
			continue
		}
		m.store.dropLocks(org, m.lockTTL())
		layers, err := os.ReadDir(filepath.Join(m.store.dir, o.Name()))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, l := range layers {
			id := remuda.LayerID(l.Name())
			if m.store.place(org, id) == "" || slices.Contains(used[org], id) {
				continue
			}
			if st, err := l.Info(); err != nil || st.ModTime().After(since) {
				continue
			}
			errs = append(errs, m.remove(ctx, org, id))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return remuda.Internal("collecting layers", err)
	}
	return nil
}

// remove takes a layer away unless a sandbox has it. It is renamed first, so that
// none can get it afterwards, and looked for once more.
func (m *Maker) remove(ctx context.Context, org remuda.OrganizationID, id remuda.LayerID) error {
	leave, err := m.busy.enter(ctx, "layer "+string(org)+" "+string(id))
	if err != nil {
		return err
	}
	defer leave()
	if mounted(string(id)) {
		return nil
	}
	at := m.store.place(org, id)
	away := filepath.Join(m.store.dir, tmpName, "old-"+string(id)+"-"+randomWord())
	if err := os.Rename(at, away); err != nil {
		return err
	}
	if mounted(string(id)) { // in between
		return os.Rename(away, at)
	}
	m.log.Info("a layer that nobody uses was removed", "organization", org, "layer", id)
	return os.RemoveAll(away)
}

// mounted reports whether a mount of any process shows a layer. A process that
// cannot be looked at has ended.
func mounted(id string) bool {
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return true
	}
	seen := map[string]bool{} // mount namespaces
	for _, p := range processes {
		if strings.Trim(p.Name(), "0123456789") != "" {
			continue
		}
		space, err := os.Readlink("/proc/" + p.Name() + "/ns/mnt")
		if err != nil || seen[space] {
			continue // it has ended
		}
		f, err := os.Open("/proc/" + p.Name() + "/mountinfo")
		if err != nil {
			continue
		}
		seen[space] = true
		found := mentions(f, id)
		_ = f.Close()
		if found {
			return true
		}
	}
	return false
}

func mentions(r io.Reader, word string) bool {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.Contains(lines.Text(), word) {
			return true
		}
	}
	return false
}

func (s *store) dropLocks(org remuda.OrganizationID, ttl time.Duration) {
	dir := filepath.Join(s.dir, string(org), locksName)
	files, err := os.ReadDir(dir)
	if err != nil {
		return // there are none
	}
	for _, f := range files {
		if st, err := f.Info(); err == nil && time.Since(st.ModTime()) > ttl {
			_ = os.Remove(filepath.Join(dir, f.Name())) // it is not used any more in any case
		}
	}
}

// Recover clears what a killed server has left half done. Call it once, before
// anything else.
func (m *Maker) Recover(context.Context) error {
	tmp := filepath.Join(m.store.dir, tmpName)
	left, err := os.ReadDir(tmp)
	if err != nil {
		return remuda.Internal("recovering layers", err)
	}
	var errs []error
	for _, l := range left {
		errs = append(errs, os.RemoveAll(filepath.Join(tmp, l.Name())))
	}
	if err := errors.Join(errs...); err != nil {
		return remuda.Internal("recovering layers", fmt.Errorf("remove what is half done: %w", err))
	}
	return nil
}
