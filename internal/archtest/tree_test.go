package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const (
	module = "github.com/remuda-run/remuda"
	root   = "../.."
)

// goFile is one parsed Go file of the tree.
type goFile struct {
	path      string // slash-separated, from the root
	dir       string
	name      string
	lines     int
	generated bool
	test      bool
	file      *ast.File
}

// imports returns the import paths of the file.
func (f *goFile) imports() []string {
	list := make([]string, 0, len(f.file.Imports))
	for _, spec := range f.file.Imports {
		list = append(list, strings.Trim(spec.Path.Value, `"`))
	}
	return list
}

// paths returns every file that is or could be committed, from the root.
var paths = sync.OnceValues(func() ([]string, error) {
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return walk()
	}
	var list []string
	for name := range strings.SplitSeq(string(out), "\x00") {
		// A file that was deleted and not committed yet is still listed.
		if info, err := os.Lstat(filepath.Join(root, name)); name != "" && err == nil && info.Mode().IsRegular() {
			list = append(list, name)
		}
	}
	return list, nil
})

// walk lists the files where the tree is no git checkout.
func walk() ([]string, error) {
	var list []string
	err := fs.WalkDir(os.DirFS(root), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (p == "bin" || p == ".bin" || p == ".cache" || p == ".git"):
			return fs.SkipDir
		case d.Type().IsRegular():
			list = append(list, p)
		}
		return nil
	})
	return list, err
}

func allPaths(t *testing.T) []string {
	t.Helper()
	list, err := paths()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 20 {
		t.Fatalf("found only %d files; this test looks at the wrong place", len(list))
	}
	return list
}

// positions are those of all files.
var positions = token.NewFileSet()

// goFiles parses every Go file once.
var goFiles = sync.OnceValues(func() ([]*goFile, error) {
	list, err := paths()
	if err != nil {
		return nil, err
	}
	var files []*goFile
	for _, name := range list {
		if path.Ext(name) != ".go" || strings.Contains(name, "/testdata/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		parsed, err := parser.ParseFile(positions, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, &goFile{
			path: name, dir: path.Dir(name), name: path.Base(name),
			lines:     bytes.Count(text, []byte("\n")),
			generated: ast.IsGenerated(parsed),
			test:      strings.HasSuffix(name, "_test.go"),
			file:      parsed,
		})
	}
	return files, nil
})

func allGoFiles(t *testing.T) []*goFile {
	t.Helper()
	files, err := goFiles()
	if err != nil {
		t.Fatal(err)
	}
	return files
}
