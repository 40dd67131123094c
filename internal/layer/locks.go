package layer

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// kept is a lock in its file.
type kept struct {
	ResolvedAt time.Time   `json:"resolved_at"`
	Lock       remuda.Lock `json:"lock"`
}

// lockKey names what a lock was resolved from: the request, and what of the site
// decides about the answer.
func (m *Maker) lockKey(r Request, packages []asked) string {
	type one struct{ Manager, Name, Version string }
	list := make([]one, len(packages))
	for n, p := range packages {
		name := p.canonical
		if p.Manager == remuda.ManagerPip {
			name = p.Name // with its extras
		}
		list[n] = one{string(p.Manager), name, wanted(p.Package)}
	}
	slices.SortFunc(list, func(a, b one) int {
		return slices.Compare([]string{a.Manager, a.Name, a.Version}, []string{b.Manager, b.Name, b.Version})
	})
	present := ""
	if slices.ContainsFunc(packages, func(p asked) bool { return p.Manager == remuda.ManagerApt }) {
		if st, err := os.Stat(statusFile); err == nil { // what is missing depends on what is there
			present = st.ModTime().UTC().String()
		}
	}
	s := m.opts.Settings
	content, err := json.Marshal([]any{lockFormat, r.Language, r.Version, cmp.Or(r.Environment, remuda.EnvironmentHost), list, present, s.PipIndexURL, s.NpmRegistryURL, s.AptDir, s.Allow, s.WheelDir})
	if err != nil {
		panic(err) // strings and lists of them
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// lock finds the lock of an equal request.
func (s *store) lock(org remuda.OrganizationID, key string, ttl time.Duration) (remuda.Lock, bool) {
	content, err := os.ReadFile(s.lockFile(org, key))
	if err != nil {
		return remuda.Lock{}, false
	}
	var k kept
	if json.Unmarshal(content, &k) != nil || checkLock(k.Lock) != nil {
		return remuda.Lock{}, false
	}
	age := time.Since(k.ResolvedAt)
	return k.Lock, age >= 0 && age < ttl
}

func (s *store) keepLock(org remuda.OrganizationID, key string, lock remuda.Lock) error {
	content, err := json.Marshal(kept{ResolvedAt: time.Now().UTC(), Lock: lock})
	if err != nil {
		return remuda.Internal("keeping a lock", err)
	}
	file := s.lockFile(org, key)
	tmp := filepath.Join(s.dir, tmpName, "lock-"+randomWord())
	err = os.MkdirAll(filepath.Dir(file), 0o700)
	if err == nil {
		err = os.WriteFile(tmp, content, 0o600)
	}
	if err == nil {
		err = os.Rename(tmp, file)
	}
	if err != nil {
		return errors.Join(keepError(err), os.RemoveAll(tmp))
	}
	return nil
}

// forgetLock removes the locks that name a layer.
func (s *store) forgetLock(org remuda.OrganizationID, id remuda.LayerID) {
	files, err := filepath.Glob(filepath.Join(s.dir, string(org), locksName, "*.json"))
	if err != nil {
		return // the pattern has none of Glob's signs but ours, or there is nothing to find
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		var k kept
		if err == nil && json.Unmarshal(content, &k) == nil && ID(k.Lock) == id {
			_ = os.Remove(file) // or it is used until it is too old
		}
	}
}

func (s *store) lockFile(org remuda.OrganizationID, key string) string {
	return filepath.Join(s.dir, string(org), locksName, key+".json")
}
