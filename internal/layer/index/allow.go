package index

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/remuda-run/remuda/internal/remuda"
)

// allowList is Settings.Allow, taken apart: patterns by manager, "" is all.
type allowList []allowed

type allowed struct {
	manager remuda.PackageManager
	pattern string
}

func newAllowList(entries []string) (allowList, error) {
	var list allowList
	for _, entry := range entries {
		manager, pattern, found := strings.Cut(entry, ":")
		if !found {
			manager, pattern = "", entry
		}
		switch m := remuda.PackageManager(manager); m {
		case "", remuda.ManagerPip, remuda.ManagerNpm, remuda.ManagerApt:
		default:
			return nil, remuda.Invalid(remuda.FieldError{Field: "packages_allow", Message: fmt.Sprintf("%q begins with the unknown manager %q; known are pip, npm and apt", entry, manager)})
		}
		if _, err := path.Match(pattern, "x"); err != nil || pattern == "" {
			return nil, remuda.Invalid(remuda.FieldError{Field: "packages_allow", Message: fmt.Sprintf("%q is no name and no pattern such as \"numpy*\"", entry)})
		}
		list = append(list, allowed{remuda.PackageManager(manager), pattern})
	}
	return list, nil
}

// allows reports whether a package, by its canonical name, may be installed.
func (l allowList) allows(manager remuda.PackageManager, name string) bool {
	if len(l) == 0 {
		return true
	}
	for _, a := range l {
		if a.manager != "" && a.manager != manager {
			continue
		}
		pattern := a.pattern
		if manager == remuda.ManagerPip {
			pattern = separators.ReplaceAllString(strings.ToLower(pattern), "-")
		}
		// "*" shall match scoped names of npm too, which have a slash.
		flat := strings.NewReplacer("/", "\x01")
		if ok, err := path.Match(flat.Replace(pattern), flat.Replace(name)); err == nil && ok {
			return true
		}
	}
	return false
}

var separators = regexp.MustCompile(`[-_.]+`)

// Canonical is a package's name in the form in which its manager compares names.
func Canonical(manager remuda.PackageManager, name string) string {
	if manager == remuda.ManagerPip {
		name, _, _ = strings.Cut(name, "[")
		return strings.ToLower(separators.ReplaceAllString(strings.TrimSpace(name), "-"))
	}
	return name
}
