package layer

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/remuda-run/remuda/internal/layer/index"
	"github.com/remuda-run/remuda/internal/remuda"
)

// apt lays Debian packages over the environment's /usr. The machine's own apt
// resolves, fetches and checks them; dpkg-deb unpacks them.
type apt struct{}

var (
	//go:embed scripts/apt_resolve.sh
	aptResolve string
	//go:embed scripts/apt_install.sh
	aptInstall string
	//go:embed scripts/update-alternatives.sh
	aptAlternatives string
)

// aptConf makes apt work as an ordinary user in a directory of its own.
const aptConf = `Dir::State "/workspace/apt/state";
Dir::State::status "/workspace/apt/status";
Dir::Cache "/workspace/apt/cache";
Dir::Etc "/workspace/apt/etc";
Dir::Etc::parts "apt.conf.d";
Dir::Log "/workspace/apt/log";
APT::Sandbox::User "";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Get::List-Cleanup "false";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Proxy "DIRECT";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Debug::NoLocking "true";
DPkg::Use-Pty "false";
quiet "1";
`

// statusFile is where the environment "host" has the list of what is installed.
const statusFile = "/var/lib/dpkg/status"

// open makes a sandbox in which apt works.
func (apt) open(ctx context.Context, b *build, lock []remuda.Locked) (_ *sandbox, err error) {
	s, err := b.maker.open(ctx, b.environment, lock, b.words)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = firstError(err, s.close())
		}
	}()
	if len(s.sources) == 0 {
		return nil, &remuda.Error{Code: remuda.CodeUnsupported, Message: "packages of apt cannot be installed here", Cause: "this machine has no source of packages that is reached over HTTP", Remedy: "configure apt's sources, or set packages_apt_dir"}
	}
	status, err := os.ReadFile(statusFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &remuda.Error{Code: remuda.CodeUnsupported, Message: "packages of apt cannot be installed here", Cause: "this machine is no Debian: it has no " + statusFile, Remedy: "use packages of the language, or an environment with apt"}
	}
	if err != nil {
		return nil, remuda.Internal("reading what is installed", err)
	}
	files := map[string][]byte{"apt/status": status, "apt/apt.conf": []byte(aptConf), "apt/shim/update-alternatives": []byte(aptAlternatives)}
	for n, source := range s.sources {
		files[fmt.Sprintf("apt/etc/sources.list.d/%02d.sources", n)] = []byte(source.stanza(n))
		if source.signedBy != "" && source.keyFile(n) != "" {
			files[source.keyFile(n)] = []byte(source.signedBy)
		}
	}
	dir := b.maker.opts.Settings.AptDir
	if dir == "" {
		dir = "/etc/apt"
	}
	keys, err := filepath.Glob(filepath.Join(escapeGlob(dir), "trusted.gpg.d", "*"))
	if err != nil {
		return nil, remuda.Internal("looking for the keys of apt", err)
	}
	for _, key := range append(keys, filepath.Join(dir, "trusted.gpg")) {
		if content, err := os.ReadFile(key); err == nil {
			files["apt/etc/trusted.gpg.d/"+filepath.Base(key)] = content
		}
	}
	for name, content := range files {
		if err := s.write(ctx, name, content); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// keyFile is where a source's key goes, "" when it is no key but a fingerprint.
func (s *aptSource) keyFile(n int) string {
	switch {
	case strings.Contains(s.signedBy, "-----BEGIN"):
		return fmt.Sprintf("apt/keys/%02d.asc", n)
	case len(s.signedBy) > 64:
		return fmt.Sprintf("apt/keys/%02d.gpg", n)
	}
	return ""
}

// stanza is the source as the build sees it.
func (s *aptSource) stanza(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Types: deb\nURIs: %s%s%d/\nSuites: %s\n", gateway, index.AptPath, n, s.suites)
	if s.components != "" {
		fmt.Fprintf(&b, "Components: %s\n", s.components)
	}
	switch file := s.keyFile(n); {
	case file != "":
		fmt.Fprintf(&b, "Signed-By: /workspace/%s\n", file)
	case s.signedBy != "":
		fmt.Fprintf(&b, "Signed-By: %s\n", strings.TrimSpace(s.signedBy))
	}
	if s.trusted {
		b.WriteString("Trusted: yes\n")
	}
	return b.String()
}

func (a apt) resolve(ctx context.Context, b *build, packages []asked) (_ []remuda.Locked, err error) {
	s, err := a.open(ctx, b, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = firstError(err, s.close()) }()
	var list strings.Builder
	for _, p := range packages {
		list.WriteString(p.Name)
		if v := wanted(p.Package); v != "" {
			list.WriteString("=" + v)
		}
		list.WriteString("\n")
		if !s.session.Allows(remuda.ManagerApt, p.Name) {
			return nil, s.explain("apt")
		}
	}
	if err := s.write(ctx, "asked.txt", []byte(list.String())); err != nil {
		return nil, err
	}
	if err := s.step(ctx, "apt-get", "apt", aptResolve, map[string]string{"APT_CONFIG": "/workspace/apt/apt.conf"}); err != nil {
		return nil, err
	}
	content, err := s.read(ctx, "found.txt", maxReport)
	if err != nil {
		return nil, broken("apt has left no list", err)
	}
	locked, err := parseFound(string(content))
	if err != nil {
		return nil, broken("apt's list cannot be used", err)
	}
	for n := range locked {
		locked[n].Asked = slices.ContainsFunc(packages, func(p asked) bool { return p.Name == locked[n].Name })
		if !s.session.Allows(remuda.ManagerApt, locked[n].Name) {
			return nil, s.explain("apt")
		}
	}
	return locked, nil
}

// parseFound reads the lines "name version sha256" that the script has made.
func parseFound(content string) ([]remuda.Locked, error) {
	var locked []remuda.Locked
	lines := bufio.NewScanner(strings.NewReader(content))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) != 3 {
			return nil, fmt.Errorf("%.200q has no name, version and hash", lines.Text())
		}
		l := remuda.Locked{Manager: remuda.ManagerApt, Name: words[0], Version: words[1], Hashes: []string{"sha256:" + words[2]}}
		if err := checkLock(remuda.Lock{Packages: []remuda.Locked{l}}); err != nil {
			return nil, err
		}
		if locked = append(locked, l); len(locked) > maxLocked {
			return nil, errTooMany
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(locked) == 0 {
		return nil, errors.New("it names no package")
	}
	return locked, nil
}

func (a apt) install(ctx context.Context, b *build, locked []remuda.Locked, take func(context.Context, *sandbox) error) (err error) {
	s, err := a.open(ctx, b, locked)
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, s.close()) }()
	var list strings.Builder
	for _, l := range locked {
		fmt.Fprintf(&list, "%s %s %s\n", l.Name, l.Version, strings.TrimPrefix(l.Hashes[0], "sha256:"))
	}
	if err := s.write(ctx, "locked.txt", []byte(list.String())); err != nil {
		return err
	}
	if err := s.step(ctx, "apt-get", "apt", aptInstall, map[string]string{"APT_CONFIG": "/workspace/apt/apt.conf"}); err != nil {
		return err
	}
	return take(ctx, s)
}
