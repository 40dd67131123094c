package fake

import (
	"bytes"
	"context"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// files is a workspace in memory: regular files only, directories are implied.
type files struct {
	mu    sync.Mutex
	quota int64
	bytes map[string][]byte
	at    map[string]time.Time
}

var _ engine.Files = (*files)(nil)

func newFiles(diskMB int) *files {
	return &files{quota: int64(diskMB) << 20, bytes: map[string][]byte{}, at: map[string]time.Time{}}
}

// clean refuses names that leave the workspace.
func clean(p string) (string, error) {
	if strings.ContainsRune(p, 0) || path.IsAbs(p) || slices.Contains(strings.Split(p, "/"), "..") {
		return "", remuda.Invalid(remuda.FieldError{Field: "path", Message: "must stay inside the workspace"})
	}
	return path.Clean(p), nil
}

func (f *files) content(p string) ([]byte, error) {
	p, err := clean(p)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	b, ok := f.bytes[p]
	if !ok {
		return nil, remuda.NotFound("file", p)
	}
	return b, nil
}

func (f *files) info(p string) remuda.FileInfo {
	return remuda.FileInfo{Path: p, Size: int64(len(f.bytes[p])), Mode: 0o644, ModifiedAt: f.at[p]}
}

// Read implements engine.Files.
func (f *files) Read(_ context.Context, p string, limit int64) (remuda.FileInfo, io.ReadCloser, error) {
	b, err := f.content(p)
	if err != nil {
		return remuda.FileInfo{}, nil, err
	}
	if int64(len(b)) > limit {
		return remuda.FileInfo{}, nil, remuda.Errorf(remuda.CodeTooLarge, "file %q has %d bytes, more than %d", p, len(b), limit)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.info(path.Clean(p)), io.NopCloser(bytes.NewReader(b)), nil
}

// Write implements engine.Files.
func (f *files) Write(_ context.Context, p string, content io.Reader, limit int64) (remuda.FileInfo, error) {
	p, err := clean(p)
	if err != nil {
		return remuda.FileInfo{}, err
	}
	if p == "." {
		return remuda.FileInfo{}, remuda.Invalid(remuda.FieldError{Field: "path", Message: "names a directory"})
	}
	b, err := io.ReadAll(io.LimitReader(content, limit+1))
	if err != nil {
		return remuda.FileInfo{}, err
	}
	if int64(len(b)) > limit {
		return remuda.FileInfo{}, remuda.Errorf(remuda.CodeTooLarge, "file %q has more than %d bytes", p, limit)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	used := int64(len(b)) - int64(len(f.bytes[p]))
	for _, c := range f.bytes {
		used += int64(len(c))
	}
	if f.quota > 0 && used > f.quota {
		return remuda.FileInfo{}, remuda.Errorf(remuda.CodeTooLarge, "the disk quota of the instance is full")
	}
	f.bytes[p], f.at[p] = b, time.Now().UTC()
	return f.info(p), nil
}

// List implements engine.Files: the files below a directory, by name.
func (f *files) List(_ context.Context, p string, limit int) ([]remuda.FileInfo, error) {
	p, err := clean(p)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []remuda.FileInfo
	for name := range f.bytes {
		if p == "." || strings.HasPrefix(name, p+"/") {
			list = append(list, f.info(name))
		}
	}
	if list == nil && p != "." {
		return nil, remuda.NotFound("directory", p)
	}
	slices.SortFunc(list, func(a, b remuda.FileInfo) int { return strings.Compare(a.Path, b.Path) })
	return list[:min(len(list), limit)], nil
}

// Remove implements engine.Files.
func (f *files) Remove(_ context.Context, p string) error {
	if _, err := f.content(p); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.bytes, path.Clean(p))
	return nil
}
