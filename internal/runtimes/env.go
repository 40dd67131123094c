package runtimes

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Bounds of one map of environment variables.
const (
	maxEnvNames = 256
	maxEnvName  = 128
	maxEnvTotal = 64 << 10 // bytes of names and values
)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// reservedPrefixes and reservedNames are variables that would change how the
// interpreter and its driver start rather than what a script sees.
var (
	reservedPrefixes = []string{"REMUDA_", "LD_", "BASH_FUNC_"}
	reservedNames    = []string{
		"PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONEXECUTABLE", "PYTHONPLATLIBDIR",
		"NODE_OPTIONS", "NODE_CHANNEL_FD", "NODE_UNIQUE_ID", "NODE_REPL_EXTERNAL_MODULE",
		"BASH_ENV", "BASHOPTS", "SHELLOPTS", "ENV", "IFS", "PS4",
		"GCONV_PATH", "GLIBC_TUNABLES", "LOCPATH", "NLSPATH", "MALLOC_TRACE",
	}
)

// CheckEnv returns what is wrong with a map of environment variables. field is
// the path under which the fields are named ("env").
func CheckEnv(field string, env map[string]string) []remuda.FieldError {
	var c checker
	if len(env) > maxEnvNames {
		c.text(field, fmt.Sprintf("has %d names; at most %d are allowed", len(env), maxEnvNames))
		return c.fields
	}
	total := 0
	for _, name := range slices.Sorted(maps.Keys(env)) {
		total += len(name) + len(env[name])
		c.text(field+"."+printable(name), checkEnvName(name))
		if strings.ContainsRune(env[name], 0) {
			c.text(field+"."+printable(name), "has a value with a NUL character, which no variable can hold")
		}
	}
	if total > maxEnvTotal {
		c.text(field, fmt.Sprintf("is %d bytes long; at most %d are allowed, put more into a file or stdin", total, maxEnvTotal))
	}
	return c.fields
}

func checkEnvName(name string) string {
	if len(name) > maxEnvName || !envName.MatchString(name) {
		return fmt.Sprintf("must be letters, digits and underscores, not begin with a digit, and be at most %d long", maxEnvName)
	}
	for _, prefix := range reservedPrefixes {
		if strings.HasPrefix(name, prefix) {
			return fmt.Sprintf("is reserved: names that begin with %s change how the sandbox starts", prefix)
		}
	}
	if slices.Contains(reservedNames, name) {
		return "is reserved: it changes how the interpreter starts; set it inside the script for child processes"
	}
	return ""
}

// printable shortens and escapes a name that comes from outside for a message.
func printable(name string) string {
	if len(name) > maxEnvName {
		name = name[:maxEnvName] + "..."
	}
	if envName.MatchString(name) {
		return name
	}
	return fmt.Sprintf("%q", name)
}
