package layer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/remuda-run/remuda/internal/engine"
)

// CheckMachine looks for the tools that install packages. Each is optional: a
// runtime without packages needs none.
func CheckMachine(ctx context.Context) []engine.Finding {
	var findings []engine.Finding
	for _, c := range []struct {
		name, remedy string
		try          func(context.Context) (string, error)
	}{
		{"packages of pip", "install it (Debian: apt install python3-pip python3-setuptools python3-wheel)", checkPip},
		{"packages of npm", "install it (Debian: apt install npm, or scripts/install.sh npm)", checkNpm},
		{"packages of apt", "use Debian or a system made from it, with sources that are reached over HTTP", checkApt},
	} {
		f := engine.Finding{Name: c.name, Optional: true}
		var err error
		if f.Detail, err = c.try(ctx); err != nil {
			f.Detail, f.Remedy = err.Error(), c.remedy
		} else {
			f.OK = true
		}
		findings = append(findings, f)
	}
	return findings
}

// checkPip wants setuptools and wheel too: packages that come as sources with
// nothing but a setup.py are built with them.
func checkPip(ctx context.Context) (string, error) {
	const program = "import importlib.util as u; print(' '.join(m for m in ('pip', 'setuptools', 'wheel') if not u.find_spec(m)))"
	missing, err := ask(ctx, "/usr/bin/python3", "-I", "-c", program)
	if err != nil {
		return "", err
	}
	if missing != "" {
		return "", fmt.Errorf("/usr/bin/python3 has no %s", strings.ReplaceAll(missing, " ", " and no "))
	}
	return "pip, setuptools and wheel of /usr/bin/python3", nil
}

func checkNpm(context.Context) (string, error) {
	// As sandboxes find it, whatever this process's PATH is.
	for _, path := range []string{"/usr/local/bin/npm", "/usr/bin/npm"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("npm is neither in /usr/bin nor in /usr/local/bin")
}

func checkApt(context.Context) (string, error) {
	for _, program := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		if _, err := exec.LookPath("/usr/bin/" + program); err != nil {
			return "", fmt.Errorf("there is no /usr/bin/%s", program)
		}
	}
	if _, err := os.Stat(statusFile); err != nil {
		return "", fmt.Errorf("there is no %s", statusFile)
	}
	sources, err := readSources("")
	if err != nil {
		return "", err
	}
	if len(sources) == 0 {
		return "", fmt.Errorf("apt has no source of packages that is reached over HTTP")
	}
	return fmt.Sprintf("%d sources", len(sources)), nil
}
