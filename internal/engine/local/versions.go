package local

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// interpreterDirs are searched, in this order; both are bound into every sandbox
// of the environment "host".
var interpreterDirs = []string{"/usr/bin", "/usr/local/bin"}

// interpreterNames are what a language's interpreters are called.
var interpreterNames = map[remuda.Language]*regexp.Regexp{
	remuda.LanguagePython: regexp.MustCompile(`^python3(\.\d+)?$`),
	remuda.LanguageNode:   regexp.MustCompile(`^node(js)?(-?\d+)?$`),
	remuda.LanguageBash:   regexp.MustCompile(`^bash(-?[\d.]+)?$`),
}

// versionWord is the first thing that looks like a version in what --version
// prints: "Python 3.11.2", "v20.19.2", "GNU bash, version 5.2.15(1)-release".
var versionWord = regexp.MustCompile(`\d+\.\d+(\.\d+)?`)

// versionCache remembers what files said, as long as they are the same files,
// and what folders hold, as long as nothing is added or removed.
type versionCache struct {
	dirs  []string // where interpreters are looked for, in this order
	shown []string // what of the machine sandboxes see

	mu      sync.Mutex
	known   map[fileKey]string
	folders map[string]folder
}

// folder is what of a directory could be an interpreter.
type folder struct {
	mtime time.Time
	names map[remuda.Language][]string
}

type fileKey struct {
	dev, ino uint64
	mtime    time.Time
}

// newVersionCache looks below prefixes too, after the machine's own places.
func newVersionCache(prefixes []string) *versionCache {
	dirs := slices.Clone(interpreterDirs)
	for _, prefix := range prefixes {
		dirs = append(dirs, filepath.Join(prefix, "bin"))
	}
	return &versionCache{dirs: dirs, shown: slices.Concat(boundDirs, prefixes), known: map[fileKey]string{}, folders: map[string]folder{}}
}

// Versions implements engine.Engine.
func (e *Engine) Versions(ctx context.Context, environment string, language remuda.Language) ([]engine.Interpreter, error) {
	if environment != "" && environment != remuda.EnvironmentHost {
		return nil, remuda.NotFound("environment", environment)
	}
	return e.versions.list(ctx, language)
}

// list finds the interpreters of a language, newest first, one for each version.
func (c *versionCache) list(ctx context.Context, language remuda.Language) ([]engine.Interpreter, error) {
	if interpreterNames[language] == nil {
		return nil, remuda.Invalid(remuda.FieldError{Field: "language", Message: fmt.Sprintf("must be one of %v", remuda.Languages())})
	}
	var found []engine.Interpreter
	for _, dir := range c.dirs {
		names, err := c.candidates(dir, language)
		if err != nil {
			return nil, fmt.Errorf("look for interpreters: %w", err)
		}
		for _, name := range names {
			path := filepath.Join(dir, name)
			if !c.reachable(path) {
				continue
			}
			version, err := c.ask(ctx, path)
			if err != nil {
				continue // broken, or a wrapper of something else
			}
			if !slices.ContainsFunc(found, func(in engine.Interpreter) bool { return in.Version == version }) {
				found = append(found, engine.Interpreter{Language: language, Version: version, Path: path})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b engine.Interpreter) int { return compareVersions(b.Version, a.Version) })
	return found, nil
}

// candidates lists the entries of a directory that are called like an
// interpreter. Every cold start asks, and /usr/bin holds thousands.
func (c *versionCache) candidates(dir string, language remuda.Language) ([]string, error) {
	st, err := os.Stat(dir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, ok := c.folders[dir]; ok && f.mtime.Equal(st.ModTime()) {
		return f.names[language], nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	f := folder{mtime: st.ModTime(), names: map[remuda.Language][]string{}}
	for _, entry := range entries {
		for l, pattern := range interpreterNames {
			if pattern.MatchString(entry.Name()) {
				f.names[l] = append(f.names[l], entry.Name())
			}
		}
	}
	// A change in the same tick of the clock as the last one would not show.
	const tick = time.Second
	if time.Since(st.ModTime()) > tick {
		c.folders[dir] = f
	}
	return f.names[language], nil
}

// reachable reports whether a program is inside what sandboxes have, wherever
// its links lead.
func (c *versionCache) reachable(path string) bool {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(c.shown, func(dir string) bool { return strings.HasPrefix(target, dir+"/") })
}

// programKey is the key of a program's file.
func programKey(path string) (fileKey, error) {
	st, err := os.Stat(path)
	if err != nil {
		return fileKey{}, err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || !st.Mode().IsRegular() || st.Mode().Perm()&0o111 == 0 {
		return fileKey{}, fmt.Errorf("%s is not a program", path)
	}
	return fileKey{dev: sys.Dev, ino: sys.Ino, mtime: st.ModTime()}, nil
}

// ask runs a program with --version, once for every file.
func (c *versionCache) ask(ctx context.Context, path string) (string, error) {
	key, err := programKey(path)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.known[key]; v != "" {
		return v, nil
	}
	const askTime = 20 * time.Second
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env, cmd.Dir = []string{"LC_ALL=C"}, "/"
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", path, err)
	}
	v := versionWord.FindString(string(out))
	if v == "" {
		return "", fmt.Errorf("%s does not say its version", path)
	}
	c.known[key] = v
	return v, nil
}

// interpreter chooses the one to use: the wanted version, all of it or its
// beginning ("3.11"), or the default.
func (c *versionCache) interpreter(ctx context.Context, language remuda.Language, version string) (engine.Interpreter, error) {
	list, err := c.list(ctx, language)
	if err != nil {
		return engine.Interpreter{}, err
	}
	known := make([]string, len(list))
	for i, in := range list {
		if version == "" || in.Version == version || strings.HasPrefix(in.Version, version+".") {
			return in, nil
		}
		known[i] = in.Version
	}
	if len(list) == 0 {
		return engine.Interpreter{}, unsupported(fmt.Sprintf("this machine has no %s", language),
			"no interpreter was found in "+strings.Join(c.dirs, " or "), "install it (Debian: apt install "+packages[language]+")", nil)
	}
	return engine.Interpreter{}, remuda.Invalid(remuda.FieldError{
		Field: "version", Message: fmt.Sprintf("%q is not there; this machine has %s %s", version, language, strings.Join(known, ", ")),
	})
}

// packages name what to install, for remedies.
var packages = map[remuda.Language]string{
	remuda.LanguagePython: "python3", remuda.LanguageNode: "nodejs", remuda.LanguageBash: "bash",
}

func compareVersions(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		m, _ := strconv.Atoi(x) // the pattern takes digits only
		n, _ := strconv.Atoi(y)
		return cmp.Compare(m, n)
	})
}
