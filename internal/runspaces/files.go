package runspaces

import (
	"context"
	"io"
	"sync"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// ReadFile opens a file of a runspace's workspace. While the reader is open the
// runspace is not idle.
func (s *Service) ReadFile(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, path string) (remuda.FileInfo, io.ReadCloser, error) {
	_, files, done, err := s.workspace(ctx, p, authz.FileRead, id, path)
	if err != nil {
		return remuda.FileInfo{}, nil, err
	}
	info, content, err := files.Read(ctx, path, remuda.MaxFileBytes)
	if err != nil {
		done()
		return remuda.FileInfo{}, nil, err
	}
	return info, &reader{ReadCloser: content, done: done}, nil
}

// reader ends a file operation when it is closed.
type reader struct {
	io.ReadCloser
	done func()
}

// Close implements io.Closer.
func (r *reader) Close() error {
	defer r.done()
	return r.ReadCloser.Close()
}

// WriteFile writes a file of a runspace's workspace, over the one that is there.
func (s *Service) WriteFile(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, path string, content io.Reader) (remuda.FileInfo, error) {
	r, files, done, err := s.workspace(ctx, p, authz.FileWrite, id, path)
	if err != nil {
		return remuda.FileInfo{}, err
	}
	defer done()
	info, err := files.Write(ctx, path, content, remuda.MaxFileBytes)
	if err != nil {
		return remuda.FileInfo{}, err
	}
	return info, s.audit(ctx, p, r, map[string]string{"change": "write", "path": path})
}

// ListFiles lists a directory of a runspace's workspace; "" is the workspace.
func (s *Service) ListFiles(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, path string) ([]remuda.FileInfo, error) {
	if path == "" {
		path = "."
	}
	_, files, done, err := s.workspace(ctx, p, authz.FileRead, id, path)
	if err != nil {
		return nil, err
	}
	defer done()
	return files.List(ctx, path, s.set.MaxListedFiles)
}

// DeleteFile removes a file of a runspace's workspace.
func (s *Service) DeleteFile(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, path string) error {
	r, files, done, err := s.workspace(ctx, p, authz.FileWrite, id, path)
	if err != nil {
		return err
	}
	defer done()
	if err := files.Remove(ctx, path); err != nil {
		return err
	}
	return s.audit(ctx, p, r, map[string]string{"change": "delete", "path": path})
}

// workspace finds the files of the runspace for one operation. Call done at its end.
func (s *Service) workspace(ctx context.Context, p remuda.Principal, action authz.Action, id remuda.RunspaceID, path string) (r *runspace, files engine.Files, done func(), err error) {
	if err := authz.Check(p, action, p.Organization); err != nil {
		return nil, nil, nil, err
	}
	if r, err = s.openOrWhy(ctx, p, id); err != nil {
		return nil, nil, nil, err
	}
	if message := CheckPath(path); message != "" && path != "." {
		return nil, nil, nil, remuda.Invalid(remuda.FieldError{Field: "path", Message: message})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(); err != nil {
		return nil, nil, nil, err
	}
	r.transfer++
	return r, r.inst.Files(), sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.transfer--
		r.row.LastUsedAt = remuda.Now()
	}), nil
}

// audit records a change of a file. The file is changed already; a caller that
// gets an error from here must be told so.
func (s *Service) audit(ctx context.Context, p remuda.Principal, r *runspace, details map[string]string) error {
	ctx = context.WithoutCancel(ctx) // the change is made, the caller's patience no longer counts
	err := s.store.Write(ctx, func(tx *store.Tx) error {
		return tx.AppendAudit(ctx, entry(p, remuda.Runspace{ID: r.id, Organization: r.org}, authz.FileWrite, details))
	})
	if err != nil {
		s.log.Error("a change of a file could not be recorded", "runspace", r.id, "request", p.RequestID, "error", err)
	}
	return err
}
