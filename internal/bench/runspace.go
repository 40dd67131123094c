package bench

import (
	"context"
	_ "embed" // the kernel's program
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

//go:embed kernelpeer.py
var kernelProgram []byte

// runspaces takes samples of 1+1 in a runspace and in a Jupyter kernel in turn,
// and of many executions over one connection.
func (m *measurement) runspaces(ctx context.Context) error {
	const name, pieces, ours, theirs = "bench-space", 5, 400, 60
	if err := m.server.runtime(ctx, name, 0, nil); err != nil {
		return err
	}
	id, err := m.server.openRunspace(ctx, name)
	if err != nil {
		return err
	}
	path := "/v1/runspaces/" + id
	request, err := m.server.wire.request(path+"/executions?wait=10s", map[string]any{"script": "1+1"})
	if err != nil {
		return err
	}
	kernel, err := startKernel(ctx, m.dir)
	if err != nil {
		m.kernel.Missing, m.kernelStart.Missing = err.Error(), err.Error()
	} else {
		defer kernel.end()
	}
	for piece := range pieces {
		settle(ctx)
		m.reference(ctx, 3)
		for range ours {
			_, took, err := m.server.run(ctx, request, time.Now())
			m.runspace.add(took, err)
		}
		if kernel != nil {
			if err := m.kernelPiece(kernel, theirs, piece == 0); err != nil {
				return err
			}
		}
		if err := m.streamPiece(ctx, path); err != nil {
			return err
		}
	}
	if err := m.server.call(ctx, http.MethodDelete, path, nil, nil); err != nil {
		return err
	}
	return m.server.removeRuntime(ctx, name)
}

func (s *server) openRunspace(ctx context.Context, runtime string) (string, error) {
	var rs struct{ ID, State, Error string }
	if err := s.call(ctx, http.MethodPost, "/v1/runspaces", map[string]any{"runtime": runtime}, &rs); err != nil {
		return "", err
	}
	for deadline := time.Now().Add(30 * time.Second); rs.State != "ready"; pause(ctx, 10*time.Millisecond) {
		if time.Now().After(deadline) || rs.State == "error" {
			return "", fmt.Errorf("the runspace is %s: %s", rs.State, rs.Error)
		}
		if err := s.call(ctx, http.MethodGet, "/v1/runspaces/"+rs.ID, nil, &rs); err != nil {
			return "", err
		}
	}
	return rs.ID, nil
}

func (m *measurement) kernelPiece(kernel *conversation, n int, first bool) error {
	var list string
	if err := kernel.ask(strconv.Itoa(n), &list); err != nil {
		return err
	}
	for i, text := range strings.Split(list, ",") {
		us, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("the kernel's times: %w", err)
		}
		series := &m.kernel
		if first && i == 0 {
			series = &m.kernelStart
		}
		series.add(time.Duration(us)*time.Microsecond, nil)
	}
	return nil
}

// startKernel starts a kernel with the first Python that has the modules.
func startKernel(ctx context.Context, dir string) (*conversation, error) {
	var interpreter string
	for _, candidate := range []string{python, "python3"} {
		path, err := exec.LookPath(candidate)
		if err != nil {
			continue
		}
		try := exec.CommandContext(ctx, path, "-c", "import ipykernel, jupyter_client")
		try.Dir = dir // what lies where the bench is run is not meant
		if try.Run() == nil {
			interpreter = path
			break
		}
	}
	if interpreter == "" {
		return nil, errors.New("not installed")
	}
	program := filepath.Join(dir, "kernelpeer.py")
	if err := os.WriteFile(program, kernelProgram, 0o600); err != nil {
		return nil, fmt.Errorf("write the kernel's program: %w", err)
	}
	var env []string
	for _, name := range []string{"JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"} {
		env = append(env, name+"="+filepath.Join(dir, "jupyter"))
	}
	return converse(ctx, dir, append(env, "PYDEVD_DISABLE_FILE_VALIDATION=1"), interpreter, program)
}
