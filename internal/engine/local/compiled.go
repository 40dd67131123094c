package local

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/guest"
)

// compiledDrivers keeps the Python driver as the byte code of each interpreter
// on the machine: compiling the source at every start costs a quarter of the
// start. The byte code comes from the machine's own interpreter and our own
// source, never from a sandbox.
type compiledDrivers struct {
	log   *slog.Logger
	mu    sync.Mutex
	known map[fileKey]guest.Program
}

func newCompiledDrivers(log *slog.Logger) *compiledDrivers {
	return &compiledDrivers{log: log, known: map[fileKey]guest.Program{}}
}

// compileScript writes what the interpreter would have put into a .pyc file,
// with a header that says "do not look for the source". Its argument is the file
// name, by which the driver knows its own frames in a traceback.
const compileScript = `
import importlib.util, marshal, sys
code = compile(sys.stdin.buffer.read(), sys.argv[1], "exec", dont_inherit=True)
sys.stdout.buffer.write(importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code))
`

// program returns the driver compiled for the interpreter, or as it is when the
// interpreter cannot compile it: slower, and no less safe.
func (c *compiledDrivers) program(ctx context.Context, interpreter string, source guest.Program) guest.Program {
	key, err := programKey(interpreter)
	if err != nil {
		return source // starting it will say what is wrong
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.known[key]; ok {
		return p
	}
	p, err := compileDriver(ctx, interpreter, source)
	if err != nil {
		if ctx.Err() != nil {
			return source
		}
		c.log.Warn("the driver could not be compiled ahead", "interpreter", interpreter, "error", err)
		p = source
	}
	c.known[key] = p
	return p
}

func compileDriver(ctx context.Context, interpreter string, source guest.Program) (guest.Program, error) {
	const compileTime = 20 * time.Second
	ctx, cancel := context.WithTimeout(ctx, compileTime)
	defer cancel()
	// One root serves all interpreters.
	path := filepath.Join("/run/remuda", interpreter, "driver.pyc")
	cmd := exec.CommandContext(ctx, interpreter, "-I", "-S", "-B", "-c", compileScript, path)
	cmd.Env, cmd.Dir = []string{"LC_ALL=C"}, "/"
	cmd.Stdin = bytes.NewReader(source.Source)
	out, err := cmd.Output()
	if err != nil {
		return guest.Program{}, fmt.Errorf("compile the driver: %w", err)
	}
	p := guest.Program{Source: out, Path: path}
	for _, arg := range source.Argv {
		if arg == source.Path {
			arg = path
		}
		p.Argv = append(p.Argv, arg)
	}
	return p, nil
}
