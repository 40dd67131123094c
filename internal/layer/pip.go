package layer

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/remuda-run/remuda/internal/layer/index"
	"github.com/remuda-run/remuda/internal/remuda"
)

// pip installs Python packages by the machine's own pip.
type pip struct{}

// The scripts run in a sandbox by Bash. Variables beginning with REMUDA_ are ours.
var (
	//go:embed scripts/pip_resolve.sh
	pipResolve string
	//go:embed scripts/pip_install.sh
	pipInstall string
)

// exitMissing is how a script says that the installer is not there.
const exitMissing = 97

func (pip) resolve(ctx context.Context, b *build, packages []asked) (_ []remuda.Locked, err error) {
	s, err := b.maker.open(ctx, b.environment, nil, b.words)
	if err != nil {
		return nil, err
	}
	defer func() { err = firstError(err, s.close()) }()
	var list strings.Builder
	for _, p := range packages {
		list.WriteString(requirement(p.Package) + "\n")
	}
	if err := s.write(ctx, "requirements.txt", []byte(list.String())); err != nil {
		return nil, err
	}
	if err := s.step(ctx, "pip", "python3-pip", pipResolve, b.pipEnv()); err != nil {
		return nil, err
	}
	report, err := s.read(ctx, "report.json", maxReport)
	if err != nil {
		return nil, broken("pip has left no report", err)
	}
	locked, err := parseReport(report)
	if err != nil {
		return nil, broken("pip's report cannot be used", err)
	}
	for n := range locked {
		locked[n].Asked = slices.ContainsFunc(packages, func(a asked) bool { return a.canonical == locked[n].Name })
	}
	return append(locked, buildOnly(s.session.Served(), locked)...), nil
}

// requirement is a line of pip's requirements file.
func requirement(p remuda.Package) string {
	switch v := wanted(p); {
	case v == "":
		return p.Name
	case strings.ContainsAny(v[:1], "=!<>~"):
		return p.Name + v
	default:
		return p.Name + "==" + v
	}
}

func (b *build) pipEnv() map[string]string {
	return map[string]string{
		"REMUDA_PYTHON": b.interpreter, "REMUDA_INDEX": gateway + index.PipPath,
		"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_CACHE_DIR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1",
		"PIP_PROGRESS_BAR": "off", "PIP_NO_COLOR": "1", "PIP_BREAK_SYSTEM_PACKAGES": "1", "PIP_RETRIES": "1", "PIP_TIMEOUT": "60",
		"PYTHONNOUSERSITE": "1", "PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": epoch, "PYTHONDONTWRITEBYTECODE": "1",
	}
}

// epoch is the time that builds are told, and that files of a layer have: the
// first that a zip can hold.
const epoch = "315532800"

// maxReport bounds what a resolver may answer.
const maxReport = 32 << 20

// pipReport is what of pip's installation report is used.
type pipReport struct {
	Version string `json:"version"`
	Install []struct {
		Download struct {
			Archive struct {
				Hash   string            `json:"hash"`
				Hashes map[string]string `json:"hashes"`
			} `json:"archive_info"`
		} `json:"download_info"`
		Metadata struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"metadata"`
	} `json:"install"`
}

// parseReport reads pip's report. It comes from a sandbox in which foreign code
// has run.
func parseReport(report []byte) ([]remuda.Locked, error) {
	var r pipReport
	if err := json.Unmarshal(report, &r); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(r.Version, "1") && r.Version != "0" {
		return nil, fmt.Errorf("it is of the unknown version %.20q", r.Version)
	}
	if len(r.Install) > maxLocked {
		return nil, errTooMany
	}
	var locked []remuda.Locked
	for _, i := range r.Install {
		l := remuda.Locked{Manager: remuda.ManagerPip, Name: CanonicalName(remuda.ManagerPip, i.Metadata.Name), Version: i.Metadata.Version}
		hash := i.Download.Archive.Hashes["sha256"]
		if hash == "" {
			hash, _ = strings.CutPrefix(i.Download.Archive.Hash, "sha256=")
		}
		l.Hashes = []string{"sha256:" + strings.ToLower(hash)}
		if err := checkLock(remuda.Lock{Packages: []remuda.Locked{l}}); err != nil {
			return nil, err
		}
		locked = append(locked, l)
	}
	return locked, nil
}

// maxLocked bounds the packages of a lock.
const maxLocked = 10_000

var errTooMany = fmt.Errorf("it names more than %d packages", maxLocked)

// buildOnly are the files that were fetched and are not to be installed: what
// others are built with, and what was looked at and not taken.
func buildOnly(served []index.Served, locked []remuda.Locked) []remuda.Locked {
	var more []remuda.Locked
	for _, f := range served {
		if slices.ContainsFunc(locked, func(l remuda.Locked) bool { return slices.Contains(l.Hashes, f.Hash) }) {
			continue
		}
		l := remuda.Locked{Manager: f.Manager, Name: f.Name, Version: f.Version, Hashes: []string{f.Hash}, Build: true}
		if checkLock(remuda.Lock{Packages: []remuda.Locked{l}}) == nil && len(more) < maxLocked {
			more = append(more, l)
		}
	}
	return more
}

func (pip) install(ctx context.Context, b *build, locked []remuda.Locked, take func(context.Context, *sandbox) error) (err error) {
	s, err := b.maker.open(ctx, b.environment, locked, b.words)
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, s.close()) }()
	var list strings.Builder
	for _, l := range locked {
		if l.Build {
			continue
		}
		fmt.Fprintf(&list, "%s==%s", l.Name, l.Version)
		for _, h := range l.Hashes {
			list.WriteString(" --hash=" + h)
		}
		list.WriteString("\n")
	}
	if err := s.write(ctx, "locked.txt", []byte(list.String())); err != nil {
		return err
	}
	if err := s.step(ctx, "pip", "python3-pip", pipInstall, b.pipEnv()); err != nil {
		return err
	}
	return take(ctx, s)
}

// step runs a script that ends with 0 unless an installer fails.
func (s *sandbox) step(ctx context.Context, installer, debian, script string, env map[string]string) error {
	res, err := s.run(ctx, script, env)
	if err != nil {
		return err
	}
	for _, f := range s.session.Served() {
		if f.Wrong {
			return &blame{name: f.Name, wrong: true, cause: &remuda.Error{
				Code: remuda.CodeInvalid, Message: fmt.Sprintf("package %s cannot be installed: its file has another hash than was promised", f.Name),
				Cause: fmt.Sprintf("the index sent a file of %s %s with %s", f.Name, f.Version, f.Hash), Remedy: "ask who keeps the index; if the package was replaced on purpose, build with a new lock",
			}}
		}
	}
	switch {
	case res.State == remuda.ExecutionSuccess:
		return nil
	case res.ExitCode != nil && *res.ExitCode == exitMissing:
		return &remuda.Error{Code: remuda.CodeUnsupported, Message: "packages cannot be installed: " + installer + " is not there", Cause: "the machine's own " + installer + " does the work, inside of the sandbox", Remedy: "install it (Debian: apt install " + debian + ") and build again"}
	}
	return s.explain(installer)
}

// broken is the error about an answer that no installer gives.
func broken(what string, err error) error {
	return &remuda.Error{Code: remuda.CodeInvalid, Message: "the packages cannot be installed: " + what, Cause: err.Error(), Remedy: "read the build's log: a package may have meddled with its own build", Err: err}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
