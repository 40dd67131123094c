package index

import (
	"slices"
	"strings"

	"github.com/remuda-run/remuda/internal/remuda"
)

// lockView answers questions about a lock.
type lockView struct {
	packages map[key][]remuda.Locked
}

type key struct {
	manager remuda.PackageManager
	name    string
}

func newLockView(lock []remuda.Locked) *lockView {
	v := &lockView{packages: map[key][]remuda.Locked{}}
	for _, l := range lock {
		k := key{l.Manager, Canonical(l.Manager, l.Name)}
		v.packages[k] = append(v.packages[k], l)
	}
	return v
}

func (v *lockView) has(manager remuda.PackageManager, name string) bool {
	return len(v.packages[key{manager, name}]) > 0
}

// shows reports whether a file belongs to the lock: by its hash, or where the
// index promises none by its version.
func (v *lockView) shows(f file) bool {
	return slices.ContainsFunc(v.packages[key{f.manager, f.name}], func(l remuda.Locked) bool {
		if f.hash != "" {
			return slices.Contains(l.Hashes, f.hash)
		}
		return sameVersion(f, l.Version)
	})
}

// sameVersion compares a locked version with that of a file. The names of Debian's
// files leave the epoch out.
func sameVersion(f file, locked string) bool {
	if _, rest, ok := strings.Cut(locked, ":"); ok && f.manager == remuda.ManagerApt && rest == f.version {
		return true
	}
	return locked == f.version
}

// holds reports whether the lock has this hash for a package.
func (v *lockView) holds(manager remuda.PackageManager, name, hash string) bool {
	return slices.ContainsFunc(v.packages[key{manager, name}], func(l remuda.Locked) bool { return slices.Contains(l.Hashes, hash) })
}
