package layer

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/remuda-run/remuda/internal/layer/index"
	"github.com/remuda-run/remuda/internal/remuda"
)

// npm installs Node.js packages by the machine's own npm.
type npm struct{}

var (
	//go:embed scripts/npm_resolve.sh
	npmResolve string
	//go:embed scripts/npm_install.sh
	npmInstall string
)

// packageJSON is the project that npm is told to install.
func packageJSON(dependencies map[string]string) []byte {
	content, err := json.Marshal(map[string]any{"name": "layer", "version": "1.0.0", "private": true, "dependencies": dependencies})
	if err != nil {
		panic(err) // strings
	}
	return content
}

func (b *build) npmEnv() map[string]string {
	return map[string]string{
		"REMUDA_NODE":         b.interpreter,
		"npm_config_registry": gateway + index.NpmPath, "npm_config_cache": "/tmp/npm-cache", "npm_config_userconfig": "/workspace/.npmrc",
		"npm_config_globalconfig": "/workspace/.npmrc-global", "npm_config_audit": "false", "npm_config_fund": "false", "npm_config_update_notifier": "false",
		"npm_config_progress": "false", "npm_config_color": "false", "npm_config_fetch_retries": "1", "npm_config_fetch_retry_mintimeout": "1000", "npm_config_loglevel": "warn",
		"SOURCE_DATE_EPOCH": epoch,
	}
}

func (npm) resolve(ctx context.Context, b *build, packages []asked) (_ []remuda.Locked, err error) {
	s, err := b.maker.open(ctx, b.environment, nil, b.words)
	if err != nil {
		return nil, err
	}
	defer func() { err = firstError(err, s.close()) }()
	dependencies := map[string]string{}
	for _, p := range packages {
		dependencies[p.Name] = wanted(p.Package)
		if dependencies[p.Name] == "" {
			dependencies[p.Name] = "latest"
		}
	}
	if err := s.write(ctx, "package.json", packageJSON(dependencies)); err != nil {
		return nil, err
	}
	if err := s.step(ctx, "npm", "npm", npmResolve, b.npmEnv()); err != nil {
		return nil, err
	}
	content, err := s.read(ctx, "package-lock.json", maxReport)
	if err != nil {
		return nil, broken("npm has left no package-lock.json", err)
	}
	locked, err := parsePackageLock(content)
	if err != nil {
		return nil, broken("npm's package-lock.json cannot be used", err)
	}
	return locked, nil
}

// packageLock is what of a package-lock.json (version 2 or 3) is used.
type packageLock struct {
	Version  int `json:"lockfileVersion"`
	Packages map[string]struct {
		Name         string            `json:"name"`
		Version      string            `json:"version"`
		Resolved     string            `json:"resolved"`
		Integrity    string            `json:"integrity"`
		Bundled      bool              `json:"inBundle"`
		Link         bool              `json:"link"`
		Dependencies map[string]string `json:"dependencies"`
	} `json:"packages"`
}

// parsePackageLock reads npm's lock. It comes from a sandbox.
func parsePackageLock(content []byte) ([]remuda.Locked, error) {
	var p packageLock
	if err := json.Unmarshal(content, &p); err != nil {
		return nil, err
	}
	if p.Version != 2 && p.Version != 3 {
		return nil, fmt.Errorf("it is of version %d; 2 and 3 are known", p.Version)
	}
	if len(p.Packages) > maxLocked {
		return nil, errTooMany
	}
	root := p.Packages[""]
	var locked []remuda.Locked
	for at, one := range p.Packages {
		if at == "" || one.Bundled {
			continue
		}
		folder := strings.LastIndex("/"+at, "/node_modules/")
		if folder < 0 {
			return nil, fmt.Errorf("%.100q is in no node_modules", at)
		}
		name := at[folder+len("node_modules/"):]
		_, direct := root.Dependencies[name]
		l := remuda.Locked{Manager: remuda.ManagerNpm, Name: name, Version: one.Version, Asked: direct && at == "node_modules/"+name}
		if one.Name != "" && one.Name != name {
			l.Name, l.Asked = one.Name, false // another name for a package
		}
		hash := index.Sha512(one.Integrity)
		if one.Link || hash == "" || !strings.HasPrefix(one.Resolved, gateway+index.NpmPath) {
			return nil, fmt.Errorf("%.100q does not come from the registry", at)
		}
		l.Hashes = []string{hash}
		if err := checkLock(remuda.Lock{Packages: []remuda.Locked{l}}); err != nil {
			return nil, err
		}
		locked = append(locked, l)
	}
	if len(locked) == 0 {
		return nil, errors.New("it names no package")
	}
	// One that is asked for can be needed by others too.
	slices.SortFunc(locked, compareLocked)
	return slices.CompactFunc(locked, func(a, b remuda.Locked) bool { return a.Name == b.Name && a.Version == b.Version }), nil
}

func (npm) install(ctx context.Context, b *build, locked []remuda.Locked, take func(context.Context, *sandbox) error) (err error) {
	s, err := b.maker.open(ctx, b.environment, locked, b.words)
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, s.close()) }()
	dependencies := map[string]string{}
	for _, l := range locked {
		if l.Asked {
			dependencies[l.Name] = l.Version
		}
	}
	if err := s.write(ctx, "tree/node/package.json", packageJSON(dependencies)); err != nil {
		return err
	}
	if err := s.step(ctx, "npm", "npm", npmInstall, b.npmEnv()); err != nil {
		return err
	}
	return take(ctx, s)
}
