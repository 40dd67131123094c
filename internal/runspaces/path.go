package runspaces

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxPath    = 1024
	maxSegment = 255
)

// CheckPath says what is wrong with the path of a file in a workspace, "" for
// nothing. It is the first of two fences: links that a script makes are resolved
// inside the sandbox by the engine.
func CheckPath(path string) string {
	switch {
	case path == "":
		return "must not be empty"
	case len(path) > maxPath:
		return fmt.Sprintf("must be at most %d bytes long", maxPath)
	case !utf8.ValidString(path):
		return "must be valid UTF-8"
	case strings.ContainsFunc(path, unicode.IsControl):
		return "must not contain control characters"
	case strings.HasPrefix(path, "/"):
		return "must be relative to the workspace, without a leading slash"
	}
	for segment := range strings.SplitSeq(path, "/") {
		switch {
		case segment == "" || segment == "." || segment == "..":
			return `must not contain empty segments, "." or ".."`
		case len(segment) > maxSegment:
			return fmt.Sprintf("must have segments of at most %d bytes", maxSegment)
		}
	}
	return ""
}
