package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Program returns the path of the program under test.
func Program(t testing.TB) string {
	t.Helper()
	if named := os.Getenv("PROGRAM_UNDER_TEST"); named != "" {
		return named
	}
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// built builds the program once for a test binary, with Go's cache. It lies in
// the user's cache, because no test owns it.
var built = sync.OnceValues(func() (string, error) {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(mod)))
	path := filepath.Join(root, ".cache", "test", "remuda")
	for _, args := range [][]string{
		{"-o", filepath.Join(root, "internal/guest/initbin/remuda-init"), "./cmd/remuda-init"},
		{"-o", path, "./cmd/remuda"},
	} {
		cmd := exec.Command("go", append([]string{"build", "-trimpath", "-ldflags", "-s -w"}, args...)...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", args[2], err, out)
		}
	}
	return path, nil
})

// environment is the test's own without the product's settings: the machine of a
// developer must not change what is tested.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(line string) bool { return strings.HasPrefix(line, "REMUDA_") })
}

// Result is how a command of the program ended.
type Result struct {
	Stdout, Stderr string
	Status         int
}

// Command runs the program with arguments, in its own process, to its end.
func Command(ctx context.Context, t testing.TB, env []string, stdin string, args ...string) Result {
	t.Helper()
	cmd := exec.CommandContext(ctx, Program(t), args...)
	cmd.Env = append(environment(), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatalf("run %s: %v", strings.Join(args, " "), err)
	}
	return Result{Stdout: stdout.String(), Stderr: stderr.String(), Status: cmd.ProcessState.ExitCode()}
}
