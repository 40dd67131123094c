package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestOneKernelVersion has all that names the oldest kernel name the same one.
func TestOneKernelVersion(t *testing.T) {
	t.Parallel()
	const want = "Linux 5.14 or later"
	for _, file := range []string{"internal/engine/local/check.go", "internal/engine/local/launch/main.go", "README.md"} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if named := regexp.MustCompile(`Linux [0-9.]+ or later`).FindAllString(string(text), -1); len(named) != 1 || named[0] != want {
			t.Errorf("%s says %q, want %q once", file, named, want)
		}
	}
}
