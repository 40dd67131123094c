package layer

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/remuda-run/remuda/internal/layer/index"
	"github.com/remuda-run/remuda/internal/remuda"
)

// lockFormat is part of every layer's name: what is done with a lock has changed
// when it changes.
const lockFormat = "remuda-layer-1"

// canonical sorts a lock and removes what is said twice.
func canonical(lock remuda.Lock) remuda.Lock {
	packages := make([]remuda.Locked, len(lock.Packages))
	for n, p := range lock.Packages {
		p.Hashes = slices.Compact(slices.Sorted(slices.Values(p.Hashes)))
		packages[n] = p
	}
	slices.SortFunc(packages, compareLocked)
	lock.Packages = slices.CompactFunc(packages, func(a, b remuda.Locked) bool {
		return compareLocked(a, b) == 0 && slices.Equal(a.Hashes, b.Hashes) && a.Asked == b.Asked && a.Build == b.Build
	})
	return lock
}

func compareLocked(a, b remuda.Locked) int {
	return cmp.Or(cmp.Compare(a.Manager, b.Manager), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version),
		slices.Compare(a.Hashes, b.Hashes), compareBool(b.Asked, a.Asked), compareBool(a.Build, b.Build))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// ID is the name of the layer that a lock makes.
func ID(lock remuda.Lock) remuda.LayerID {
	content, err := json.Marshal(struct {
		Format string
		remuda.Lock
	}{lockFormat, canonical(lock)})
	if err != nil {
		panic(err) // strings, bools and lists of them
	}
	sum := sha256.Sum256(content)
	return remuda.LayerID(hex.EncodeToString(sum[:]))
}

// CanonicalName is a package's name as it stands in a lock: pip takes "Foo_Bar"
// and "foo-bar" for one. manager is not "".
func CanonicalName(manager remuda.PackageManager, name string) string {
	return index.Canonical(manager, name)
}

// checkLock refuses what no Resolve has made. Names and versions become words of
// installers' files and arguments.
func checkLock(lock remuda.Lock) error {
	var wrong []remuda.FieldError
	for _, l := range lock.Packages {
		err := checkName(l.Manager, l.Name)
		if err == nil && (!lockedVersion.MatchString(l.Version) || len(l.Version) > maxWord) {
			err = errWord("version", l.Version)
		}
		if err == nil && len(l.Hashes) == 0 {
			err = errWord("hash", "")
		}
		for _, h := range l.Hashes {
			if err == nil && !lockedHash.MatchString(h) {
				err = errWord("hash", h)
			}
		}
		if err != nil {
			wrong = append(wrong, remuda.FieldError{Field: "lock", Message: l.Name + ": " + err.Error()})
		}
	}
	if len(wrong) > 0 {
		return remuda.Invalid(wrong...)
	}
	return nil
}
