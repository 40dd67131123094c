package runtimes

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxRuntimeName bounds the name of a runtime, in bytes.
const maxRuntimeName = 250

// CheckRuntimeName says what is wrong with the name of a runtime, "" for nothing.
// It takes more than CheckName: other systems' names have spaces and brackets.
func CheckRuntimeName(name string) string {
	unprintable := func(c rune) bool { return !unicode.IsPrint(c) || c == utf8.RuneError }
	switch {
	case name == "" || len(name) > maxRuntimeName || !utf8.ValidString(name) || strings.ContainsFunc(name, unprintable) || strings.TrimSpace(name) != name:
		return "must be 1 to 250 bytes of printable characters, without spaces at its ends"
	case strings.Trim(name, ".") == "":
		return "must not consist of dots only"
	}
	return ""
}
