package layer

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/remuda-run/remuda/internal/remuda"
)

// maxWord bounds names and versions.
const maxWord = 214

// What names and versions are made of. They are more narrow than what managers
// take: no path, no URL, no option, no marker, since each would lead past the
// site's index.
var (
	names = map[remuda.PackageManager]*regexp.Regexp{
		remuda.ManagerPip: regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(\[[A-Za-z0-9._-]+(,[A-Za-z0-9._-]+)*\])?$`),
		remuda.ManagerNpm: regexp.MustCompile(`^(@[a-z0-9~][a-z0-9._~-]*/)?[A-Za-z0-9_~][A-Za-z0-9._~-]*$`),
		remuda.ManagerApt: regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`),
	}
	versions = map[remuda.PackageManager]*regexp.Regexp{
		remuda.ManagerPip: regexp.MustCompile(`^((==|!=|<=|>=|<|>|~=) ?)?[0-9A-Za-z][0-9A-Za-z.!+*_-]*( ?, ?(==|!=|<=|>=|<|>|~=) ?[0-9A-Za-z][0-9A-Za-z.!+*_-]*)*$`),
		remuda.ManagerNpm: regexp.MustCompile(`^(\^|~|<=|>=|<|>|=)? ?v?[0-9A-Za-z*][0-9A-Za-z.*+-]*$`),
		remuda.ManagerApt: regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+:~-]*$`),
	}
	lockedVersion = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.!+:~_-]*$`)
	lockedHash    = regexp.MustCompile(`^(sha256:[0-9a-f]{64}|sha512-[A-Za-z0-9+/]{86}==)$`)
)

func errWord(what, word string) error {
	return fmt.Errorf("%.100q is no %s", word, what)
}

func checkName(manager remuda.PackageManager, name string) error {
	pattern := names[manager]
	if pattern == nil {
		return fmt.Errorf("%.100q is no package manager; known are %v", manager, remuda.PackageManagers())
	}
	if len(name) > maxWord || !pattern.MatchString(name) {
		return errWord("name of a package of "+string(manager), name)
	}
	return nil
}

// CheckPackages says what is wrong with a list of packages for a language, or nil.
// Fields are named packages[0].name and so on.
func CheckPackages(language remuda.Language, packages []remuda.Package) []remuda.FieldError {
	var wrong []remuda.FieldError
	say := func(n int, field, message string) {
		wrong = append(wrong, remuda.FieldError{Field: fmt.Sprintf("packages[%d].%s", n, field), Message: message})
	}
	seen := map[string]bool{}
	for n, p := range packages {
		manager := language.ManagerOf(p)
		switch {
		case names[manager] == nil:
			say(n, "manager", fmt.Sprintf("must be one of %v", remuda.PackageManagers()))
			continue
		case manager == remuda.ManagerPip && language != remuda.LanguagePython, manager == remuda.ManagerNpm && language != remuda.LanguageNode:
			say(n, "manager", fmt.Sprintf("%s installs nothing for a runtime of %s", manager, language))
			continue
		}
		if err := checkName(manager, p.Name); err != nil {
			say(n, "name", err.Error())
			continue
		}
		if exact := wanted(p); exact != "" && (len(exact) > maxWord || !versions[manager].MatchString(exact)) {
			say(n, "version", fmt.Sprintf("%.100q is no version that %s installs from an index", p.Version, manager))
		}
		key := string(manager) + " " + CanonicalName(manager, p.Name)
		if seen[key] {
			say(n, "name", p.Name+" is listed twice")
		}
		seen[key] = true
	}
	return wrong
}

// wanted is the version that a package asks for, "" for the newest.
func wanted(p remuda.Package) string {
	v := strings.TrimSpace(p.Version)
	if v == "latest" || v == "*" {
		return ""
	}
	return v
}
