package runtimes

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Bounds that no setting moves.
const (
	minCPU         = 0.01
	minMemoryMB    = 16
	minPids        = 4
	minExecTimeout = time.Second
	maxExecTimeout = 24 * time.Hour
	maxDescription = 4096
)

var namePattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,63}$`)

// CheckName says what is wrong with the name of an object, "" for nothing.
func CheckName(name string) string {
	switch {
	case !namePattern.MatchString(name):
		return "must be 1 to 63 letters, digits, dots, underscores or hyphens"
	case strings.Trim(name, ".") == "":
		return "must not consist of dots only"
	default:
		return ""
	}
}

// check returns every wrong field of d. known are the interpreters of its
// environment and language, nil when these two are wrong themselves.
func (s Settings) check(d remuda.Definition, known []engine.Interpreter) []remuda.FieldError {
	var c checker
	c.text("name", CheckRuntimeName(d.Name))
	if remuda.IsID(remuda.PrefixRuntime, d.Name) {
		c.text("name", "must not have the form of a runtime id")
	}
	if len(d.Description) > maxDescription || !utf8.ValidString(d.Description) {
		c.text("description", fmt.Sprintf("must be valid UTF-8 of at most %d bytes", maxDescription))
	}
	c.text("language", checkLanguage(d.Language))
	c.text("environment", checkEnvironment(d.Environment))
	if checkLanguage(d.Language) == "" && checkEnvironment(d.Environment) == "" {
		c.text("version", checkVersion(d, known))
	}
	if d.VersionPolicy != remuda.VersionExact && d.VersionPolicy != remuda.VersionCompatible {
		c.text("version_policy", "must be one of "+list([]remuda.VersionPolicy{remuda.VersionExact, remuda.VersionCompatible}))
	}
	c.packages(d, s.Layers != nil)
	c.text("connection_script", checkScriptRef(d.ConnectionScript))
	c.text("disconnect_script", checkScriptRef(d.DisconnectScript))
	if len(d.Others) > maxOthers || !utf8.ValidString(d.Others) {
		c.text("others", fmt.Sprintf("must be valid UTF-8 of at most %d bytes", maxOthers))
	}
	if cpu := d.Resources.CPU; math.IsNaN(cpu) || cpu < minCPU || cpu > s.MaxCPU {
		c.text("resources.cpu", fmt.Sprintf("must be between %g and %g cores", minCPU, s.MaxCPU))
	}
	c.between("resources.memory_mb", d.Resources.MemoryMB, minMemoryMB, s.MaxMemoryMB, "MiB")
	c.between("resources.disk_mb", d.Resources.DiskMB, 1, s.MaxDiskMB, "MiB")
	c.between("resources.pids", d.Resources.Pids, minPids, s.MaxPids, "processes and threads")
	if d.ExecTimeout < minExecTimeout || d.ExecTimeout > maxExecTimeout {
		c.text("exec_timeout_s", "must be between 1 and 86400 seconds")
	}
	c.between("pool.min_cached", d.Pool.MinCached, 0, s.MaxCached, "instances")
	c.between("pool.max_cached", d.Pool.MaxCached, 0, s.MaxCached, "instances")
	if d.Pool.MaxCached < d.Pool.MinCached {
		c.text("pool.max_cached", fmt.Sprintf("must be at least min_cached, which is %d", d.Pool.MinCached))
	}
	c.fields = append(c.fields, CheckEnv("env", d.Env)...)
	c.preload(d)
	if !slices.Contains(remuda.Isolations(), d.Isolation) {
		c.text("isolation", "must be one of "+list(remuda.Isolations()))
	}
	return c.fields
}

// checker collects wrong fields.
type checker struct{ fields []remuda.FieldError }

func (c *checker) text(field, message string) {
	if message != "" {
		c.fields = append(c.fields, remuda.FieldError{Field: field, Message: message})
	}
}

func (c *checker) between(field string, v, low, high int, unit string) {
	if v < low || v > high {
		c.text(field, fmt.Sprintf("must be between %d and %d %s", low, high, unit))
	}
}

// maxPreload bounds the modules that a template imports.
const maxPreload = 64

var modulePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)

func (c *checker) preload(d remuda.Definition) {
	if len(d.Preload) > 0 && d.Language != remuda.LanguagePython {
		c.text("preload", "is for python only: no other language has modules that are imported ahead")
		return
	}
	if len(d.Preload) > maxPreload {
		c.text("preload", fmt.Sprintf("has %d modules; at most %d are allowed", len(d.Preload), maxPreload))
		return
	}
	for i, name := range d.Preload {
		switch {
		case len(name) > 255 || !modulePattern.MatchString(name):
			c.text(fmt.Sprintf("preload[%d]", i), "must be a module name such as json or xml.dom, of at most 255 ASCII letters, digits, underscores and dots")
		case slices.Contains(d.Preload[:i], name):
			c.text(fmt.Sprintf("preload[%d]", i), "is listed before")
		}
	}
}

func checkLanguage(l remuda.Language) string {
	if slices.Contains(remuda.Languages(), l) {
		return ""
	}
	return "must be one of " + list(remuda.Languages())
}

// list is words as they are named in a message.
func list[T ~string](words []T) string {
	names := make([]string, len(words))
	for i, w := range words {
		names[i] = string(w)
	}
	return strings.Join(names, ", ")
}

func checkEnvironment(e string) string {
	if e == remuda.EnvironmentHost {
		return ""
	}
	return fmt.Sprintf("must be %q; other environments are not supported yet", remuda.EnvironmentHost)
}

// maxScriptRef bounds what names a stored script: an id, or a name.
const maxScriptRef = 250

// checkScriptRef says what is wrong with a reference to a stored script, "" for
// nothing. Whether there is one shows when it is wanted: scripts come and go.
func checkScriptRef(ref string) string {
	if len(ref) > maxScriptRef || !utf8.ValidString(ref) || strings.ContainsFunc(ref, unicode.IsControl) || strings.TrimSpace(ref) != ref {
		return fmt.Sprintf("must be the id or name of a stored script, of at most %d bytes without control characters and outer spaces", maxScriptRef)
	}
	return ""
}
