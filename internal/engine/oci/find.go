package oci

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// runscName is what the runtime is called.
const runscName = "runsc"

// installRunsc is the remedy where it is missing.
const installRunsc = "run `make runsc` in a checkout of remuda, which builds it from source into bin/, or put a runsc into PATH; or use isolation \"process\""

// findRunsc looks for the runtime: where the options say, beside this program,
// in PATH.
func (e *Engine) findRunsc() (string, error) {
	if p := e.opts.Runsc; p != "" {
		if err := executable(p); err != nil {
			return "", unsupported("the runsc that was named cannot be used", err.Error(), "name another, or none", err)
		}
		return filepath.Abs(p)
	}
	if self, err := os.Executable(); err == nil {
		if p := filepath.Join(filepath.Dir(self), runscName); executable(p) == nil {
			return p, nil
		}
	}
	p, err := exec.LookPath(runscName)
	if err != nil {
		return "", unsupported("this machine has no runsc, which isolation \"gvisor\" needs", "it is neither beside this program nor in PATH", installRunsc, err)
	}
	return filepath.Abs(p)
}

func executable(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() || st.Mode().Perm()&0o111 == 0 {
		return fmt.Errorf("%s is not a program", path)
	}
	return nil
}
