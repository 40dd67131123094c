package layer

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/remuda-run/remuda/internal/layer/index"
	"github.com/remuda-run/remuda/internal/remuda"
)

// checkSettings refuses settings that cannot work, before anything is built.
func checkSettings(s Settings) error {
	for field, address := range map[string]string{"packages_pip_index_url": s.PipIndexURL, "packages_npm_registry_url": s.NpmRegistryURL} {
		if address == "" {
			continue
		}
		if _, err := indexAddress(field, address); err != nil {
			return err
		}
	}
	if s.WheelDir != "" {
		if st, err := os.Stat(s.WheelDir); err != nil || !st.IsDir() || !filepath.IsAbs(s.WheelDir) {
			return remuda.Invalid(remuda.FieldError{Field: "packages_wheel_dir", Message: fmt.Sprintf("%q is no directory given by an absolute path", s.WheelDir)})
		}
	}
	_, err := index.New(index.Options{Allow: s.Allow})
	return err
}

// indexAddress reads the address of an index. What is wrong with it is said without
// showing a password.
func indexAddress(field, address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, remuda.Invalid(remuda.FieldError{Field: field, Message: "must be an address that begins with http:// or https://"})
	}
	return u, nil
}

// lead is the way to the site's indexes, and the sources of apt that it leads to, by
// their numbers.
type lead struct {
	*index.Gateway

	sources []aptSource
}

// gateway is the way to the site's indexes. The machine's own tools are asked once
// for what the settings leave open.
func (m *Maker) gateway(ctx context.Context) (*lead, error) {
	m.asking.Lock()
	defer m.asking.Unlock()
	if m.leading != nil {
		return m.leading, nil
	}
	s := m.opts.Settings
	opts := index.Options{Allow: s.Allow, WheelDir: s.WheelDir, Internal: s.InternalHosts}
	var err error
	if opts.Pip, err = m.siteIndex(ctx, "packages_pip_index_url", s.PipIndexURL, pipDefault); err != nil {
		return nil, err
	}
	if opts.Npm, err = m.siteIndex(ctx, "packages_npm_registry_url", s.NpmRegistryURL, npmDefault); err != nil {
		return nil, err
	}
	known := opts.Pip != nil && opts.Npm != nil
	sources, err := readSources(s.AptDir)
	if err != nil {
		return nil, err
	}
	for _, source := range sources {
		opts.Apt = append(opts.Apt, source.uri)
	}
	g, err := index.New(opts)
	if err != nil {
		return nil, err
	}
	l := &lead{g, sources}
	if known { // or the next build asks again
		m.leading = l
	}
	return l, nil
}

// siteIndex is an index's address: the setting, or what the tool says is its own.
// A tool that is not there has none.
func (m *Maker) siteIndex(ctx context.Context, field, setting string, ask func(context.Context) (string, error)) (*url.URL, error) {
	if setting == "" {
		found, err := ask(ctx)
		if err != nil {
			m.log.Warn("a package index is not known; set it", "setting", field, "error", err)
			return nil, nil
		}
		setting = found
	}
	return indexAddress(field, setting)
}

// askTime bounds a question to a tool of the machine.
const askTime = 30 * time.Second

// pipDefault asks the machine's pip for its index.
func pipDefault(ctx context.Context) (string, error) {
	const program = `
from pip._internal.configuration import Configuration
from pip._internal.models.index import PyPI
c = Configuration(isolated=False)
c.load()
found = dict(c.items())
for name in (":env:.index-url", "install.index-url", "global.index-url"):
    if name in found:
        print(found[name])
        break
else:
    print(PyPI.simple_url)
`
	return ask(ctx, "/usr/bin/python3", "-c", program)
}

// npmDefault asks the machine's npm for its registry.
func npmDefault(ctx context.Context) (string, error) {
	return ask(ctx, "npm", "config", "get", "registry")
}

func ask(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "/"
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ask %s: %w: %.300s", program, err, said.String())
	}
	return strings.TrimSpace(string(out)), nil
}
