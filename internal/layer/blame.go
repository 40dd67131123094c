package layer

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/remuda-run/remuda/internal/remuda"
)

// blame is the error of a build that failed for one package's sake.
type blame struct {
	name  string // "" when nobody says which
	cause *remuda.Error
	wrong bool // a file was not the one that was promised
}

// Error implements error.
func (b *blame) Error() string { return b.cause.Error() }

// Unwrap lets the cause be found.
func (b *blame) Unwrap() error { return b.cause }

// BlamedPackage is the name of the package that made a build fail, "" when the
// installer does not say.
func BlamedPackage(err error) string {
	if b, ok := errors.AsType[*blame](err); ok {
		return b.name
	}
	return ""
}

// hints are what installers print when one package is the reason, the most telling
// first. The first group is the package.
var hints = []struct {
	pattern *regexp.Regexp
	message string // for the package
}{
	{regexp.MustCompile(`(?m)^ERROR: THESE PACKAGES DO NOT MATCH THE HASHES.*\n\s+([A-Za-z0-9][A-Za-z0-9._-]*?)(?:==\S+)?(?: from|\s).*$`), "its file has another hash than was promised"},
	{regexp.MustCompile(`(?ms)^ERROR: Ignored the following versions that require a different python version:.*^ERROR: (?:Could not find a version that satisfies the requirement|No matching distribution found for) ([A-Za-z0-9][A-Za-z0-9._-]*)`), "it needs another Python, or no index has a version of it that fits this one"},
	{regexp.MustCompile(`(?m)^ERROR: (?:Could not find a version that satisfies the requirement|No matching distribution found for) ([A-Za-z0-9][A-Za-z0-9._-]*)`), "no index has a version of it that fits this interpreter"},
	{regexp.MustCompile(`(?m)^\s*ERROR: Failed building wheel for ([A-Za-z0-9][A-Za-z0-9._-]*)`), "its own build script failed"},
	{regexp.MustCompile(`(?m)^ERROR: Cannot install ([A-Za-z0-9][A-Za-z0-9._-]*).* because these package versions have conflicting dependencies`), "what it needs contradicts what others need"},
	{regexp.MustCompile(`(?m)^ERROR: ([A-Za-z0-9][A-Za-z0-9._-]*) has an invalid wheel`), "its wheel is broken"},
	{regexp.MustCompile(`(?m)^ERROR: Wheel '([A-Za-z0-9][A-Za-z0-9._-]*)' .* is invalid`), "its wheel is broken"},
	{regexp.MustCompile(`(?m)^ERROR: For req: ([A-Za-z0-9][A-Za-z0-9._-]*?)(?:==\S+)?\. The wheel .* has a file .* trying to install outside`), "its wheel has files that lead out of the place where it is installed"},
	{regexp.MustCompile(`(?m)^ERROR: The (?:tar|zip) file \(\S*/([A-Za-z0-9][A-Za-z0-9._-]*?)-[0-9][^/]*\) has a file .* trying to install outside`), "it has files that lead out of the place where it is unpacked"},
	{regexp.MustCompile(`(?m)^npm (?:error|ERR!) (?:404|notarget|code E\w+).* '?((?:@[a-z0-9~][a-z0-9._~-]*/)?[A-Za-z0-9_~][A-Za-z0-9._~-]*)@\S+`), "the registry has no version of it that was asked for"},
	{regexp.MustCompile(`(?m)^npm (?:error|ERR!) path /workspace/\S*node_modules/((?:@[a-z0-9~][a-z0-9._~-]*/)?[A-Za-z0-9_~][A-Za-z0-9._~-]*)\s*$`), "its own install script failed"},
	{regexp.MustCompile(`(?m)^npm (?:error|ERR!).*Integrity verification failed.*?((?:@[a-z0-9~][a-z0-9._~-]*/)?[A-Za-z0-9_~][A-Za-z0-9._~-]*)@`), "its file has another hash than was promised"},
	{regexp.MustCompile(`(?m)^E: Unable to locate package (\S+)`), "no archive has it"},
	{regexp.MustCompile(`(?m)^E: Version '[^']*' for '([^']+)' was not found`), "no archive has the version that was asked for"},
	{regexp.MustCompile(`(?m)^E: Package '([^']+)' has no installation candidate`), "no archive has it"},
	{regexp.MustCompile(`(?m)^\s*(\S+) : (?:Depends|PreDepends):`), "what it needs is not to be had"},
}

// What pip prints when a package's own script has failed: the package is named
// after it, or is the last that was begun.
var (
	subprocess = regexp.MustCompile(`(?m)^\s*(?:error: subprocess-exited-with-error|ERROR: Command errored out)`)
	begun      = regexp.MustCompile(`(?m)^\s*(?:Collecting|Building wheel for) ([A-Za-z0-9][A-Za-z0-9._-]*)`)
)

// noSpace is what is printed when the disk of a build is full.
var noSpace = regexp.MustCompile(`(?i)no space left on device|ENOSPC|disk quota exceeded`)

// explain makes an error of an installer that has failed.
func (s *sandbox) explain(doing string) error {
	tail, notes := s.words.end()
	name, why := diagnose(tail)
	if denied := s.session.Denied(); len(denied) > 0 && (name == "" || contains(denied, name)) {
		return &blame{name: denied[0], cause: &remuda.Error{
			Code: remuda.CodeForbidden, Message: fmt.Sprintf("package %s is not allowed on this site", denied[0]), Cause: "it is not in the setting packages_allow",
			Remedy: "ask the site's administrator to allow it, with all that it needs",
		}}
	}
	if name == "" && noSpace.MatchString(tail) {
		disk := s.maker.resources().DiskMB
		return &blame{cause: &remuda.Error{
			Code: remuda.CodeInvalid, Message: fmt.Sprintf("the packages need more than the %d MiB of disk that a build has", disk), Cause: lastWord(tail),
			Remedy: "ask for other packages, or raise packages_build_memory_mb or packages_build_disk_mb",
		}}
	}
	if failed := s.session.Failed(); len(failed) > 0 && (name == "" || contains(failed, name)) {
		return &blame{name: name, cause: &remuda.Error{
			Code: remuda.CodeUnavailable, Message: "the package index cannot give " + failed[0], Cause: lastNote(notes),
			Remedy: "see that the server reaches the index of its settings, and build again",
		}}
	}
	e := &remuda.Error{Code: remuda.CodeInvalid, Remedy: "read the build's log, correct the list of packages, and build again"}
	if name != "" {
		e.Message = fmt.Sprintf("package %s cannot be installed: %s", name, why)
	} else {
		e.Message = "the packages cannot be installed: " + doing + " failed"
	}
	if last := lastWord(tail); last != "" {
		e.Cause = last
	}
	if len(notes) > 0 {
		e.Cause = lastNote(notes)
	}
	return &blame{name: name, cause: e}
}

// lastNote is what the gateway said last.
func lastNote(notes []string) string {
	if len(notes) == 0 {
		return ""
	}
	return strings.TrimPrefix(notes[len(notes)-1], "index: ")
}

func contains(list []string, name string) bool {
	for _, one := range list {
		if one == name || CanonicalName(remuda.ManagerPip, name) == one {
			return true
		}
	}
	return false
}

// diagnose finds the package that an installer's last words blame, and why.
func diagnose(tail string) (name, why string) {
	for _, h := range hints {
		all := h.pattern.FindAllStringSubmatch(tail, -1)
		if len(all) == 0 {
			continue
		}
		last := all[len(all)-1]
		if len(last) > 1 && last[1] != "" && len(last[1]) <= maxWord {
			return last[1], h.message
		}
	}
	at := subprocess.FindStringIndex(tail)
	if at == nil {
		return "", ""
	}
	before := begun.FindAllStringSubmatch(tail[:at[0]], -1)
	if len(before) == 0 {
		return "", ""
	}
	return before[len(before)-1][1], "its own build script failed"
}

// telling begins the lines in which installers say what is wrong.
var telling = regexp.MustCompile(`(?m)^(?:ERROR: |E: |npm (?:error|ERR!) (?:\d{3} |[^ ]{1,20} )?)(\S.{20,})$`)

// lastWord is the line that says most: the last one of a package's own script, or of
// the installer.
func lastWord(tail string) string {
	var line string
	if at := strings.LastIndex(tail, "[end of output]"); at >= 0 {
		said := strings.TrimSpace(tail[:at])
		line = strings.TrimSpace(said[strings.LastIndexByte(said, '\n')+1:])
	} else if all := telling.FindAllStringSubmatch(tail, -1); len(all) > 0 {
		line = all[0][1]
	} else {
		said := strings.TrimSpace(tail)
		line = strings.TrimSpace(said[strings.LastIndexByte(said, '\n')+1:])
	}
	const most = 300
	if len(line) > most {
		line = line[:most] + "..."
	}
	return strings.ToValidUTF8(line, "?")
}
