package local

import (
	"os"
	"regexp"
	"testing"
)

// TestOneKernelVersion has all that names the oldest kernel name the same one.
func TestOneKernelVersion(t *testing.T) {
	t.Parallel()
	const want = "Linux 5.14 or later"
	for _, file := range []string{"check.go", "launch/main.go", "../../../README.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if named := regexp.MustCompile(`Linux [0-9.]+ or later`).FindAllString(string(text), -1); len(named) != 1 || named[0] != want {
			t.Errorf("%s says %q, want %q once", file, named, want)
		}
	}
}
