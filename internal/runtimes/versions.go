package runtimes

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// RuntimeVersions lists the interpreters that the machine has for a language.
func (s *Service) RuntimeVersions(ctx context.Context, p remuda.Principal, language remuda.Language) ([]engine.Interpreter, error) {
	if err := authz.Check(p, authz.RuntimeRead, remuda.GlobalOrganization); err != nil {
		return nil, err
	}
	if message := checkLanguage(language); message != "" {
		return nil, remuda.Invalid(remuda.FieldError{Field: "language", Message: message})
	}
	return s.versions.Versions(ctx, remuda.EnvironmentHost, language)
}

// ResolveVersion is the interpreter that a version stands for, among known ones
// (newest first). ok is false when there is none.
func ResolveVersion(want string, policy remuda.VersionPolicy, known []engine.Interpreter) (found engine.Interpreter, ok bool) {
	if len(known) == 0 {
		return found, false
	}
	if want == "" {
		return known[0], true
	}
	for _, in := range known { // newest first
		if in.Version == want || strings.HasPrefix(in.Version, want+".") {
			return in, true
		}
	}
	if policy == remuda.VersionCompatible {
		return nearest(want, known)
	}
	return found, false
}

// nearest is the interpreter of the same major version whose minor version is the
// asked one or the next above it; of several such, the newest.
func nearest(want string, known []engine.Interpreter) (found engine.Interpreter, ok bool) {
	major, minor, sane := parts(want)
	if !sane {
		return found, false
	}
	best := -1
	for _, in := range known {
		itsMajor, itsMinor, sane := parts(in.Version)
		if !sane || itsMajor != major || itsMinor < minor {
			continue
		}
		if best < 0 || itsMinor < best {
			found, best = in, itsMinor
		}
	}
	return found, best >= 0
}

// versionPattern is a version with its first two numbers: what follows them is passed
// over, but is kept and shown, so that it must be harmless.
var versionPattern = regexp.MustCompile(`^([0-9]{1,9})(?:\.([0-9]{1,9})(?:\.[0-9A-Za-z.+()_-]+)?)?$`)

// parts reads the first two numbers of a version; a lone major has minor 0.
func parts(version string) (major, minor int, ok bool) {
	found := versionPattern.FindStringSubmatch(version)
	if found == nil {
		return 0, 0, false
	}
	major, _ = strconv.Atoi(found[1]) // at most nine digits
	minor, _ = strconv.Atoi(found[2]) // or nothing, which is 0
	return major, minor, true
}

// maxVersion bounds the text of a version.
const maxVersion = 64

func checkVersion(d remuda.Definition, known []engine.Interpreter) string {
	switch d.VersionPolicy {
	case remuda.VersionExact, remuda.VersionCompatible:
	default:
		return "" // the policy itself is wrong
	}
	if len(known) == 0 {
		return fmt.Sprintf("no %s interpreter was found in the environment %q; install one on the machine", d.Language, d.Environment)
	}
	if len(d.Version) > maxVersion {
		return fmt.Sprintf("must be at most %d bytes long", maxVersion)
	}
	if _, ok := ResolveVersion(d.Version, d.VersionPolicy, known); ok {
		return ""
	}
	versions := make([]string, 0, len(known))
	for _, in := range known {
		versions = append(versions, in.Version)
	}
	which := "was not found"
	if d.VersionPolicy == remuda.VersionCompatible {
		which = "has no compatible interpreter, which would be of the same major version and not older"
	}
	return fmt.Sprintf("%s; known versions of %s: %s", which, d.Language, strings.Join(versions, ", "))
}

// interpreter resolves the version of a valid definition. What was built once for
// the same question keeps its answer, as long as that interpreter is there: a new
// one on the machine changes no runtime by itself.
func interpreter(d remuda.Definition, old *record, known []engine.Interpreter) string {
	if old != nil && sameInterpreter(d, old.Definition) {
		for _, in := range known {
			if in.Version == old.Build.Version {
				return in.Version
			}
		}
	}
	found, _ := ResolveVersion(d.Version, d.VersionPolicy, known)
	return found.Version
}

func sameInterpreter(a, b remuda.Definition) bool {
	return a.Language == b.Language && a.Version == b.Version && a.VersionPolicy == b.VersionPolicy && a.Environment == b.Environment
}
