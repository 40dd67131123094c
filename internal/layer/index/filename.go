package index

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// sdistEnds are how names of source distributions end.
var sdistEnds = []string{".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip"}

// ParseFilename takes the name of a wheel or sdist apart. The project comes in its
// canonical form.
func ParseFilename(name string) (project, version string, ok bool) {
	if stem, isWheel := strings.CutSuffix(name, ".whl"); isWheel {
		parts := strings.Split(stem, "-")
		if len(parts) != 5 && len(parts) != 6 {
			return "", "", false
		}
		return Canonical("pip", parts[0]), parts[1], parts[0] != "" && parts[1] != ""
	}
	for _, end := range sdistEnds {
		stem, found := strings.CutSuffix(name, end)
		if !found {
			continue
		}
		// The version has no hyphen; old names of projects may have.
		cut := strings.LastIndexByte(stem, '-')
		if cut <= 0 || cut == len(stem)-1 {
			return "", "", false
		}
		return Canonical("pip", stem[:cut]), stem[cut+1:], true
	}
	return "", "", false
}

// wheelsOf lists what the wheel directory has of a project.
func wheelsOf(dir, project string) ([]entry, error) {
	if dir == "" {
		return nil, nil
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the wheel directory: %w", err)
	}
	var entries []entry
	for _, f := range files {
		if name, _, ok := ParseFilename(f.Name()); !ok || name != project || !plainName(f.Name()) {
			continue
		}
		e := entry{filename: f.Name(), path: filepath.Join(dir, f.Name())}
		if e.hash, err = hashFile(e.path); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func hashFile(path string) (string, error) {
	f, _, err := openWheel(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("read a file of the wheel directory: %w", err)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}
