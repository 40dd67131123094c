package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// CreateRunspace opens a runspace. With wait > 0 the answer comes when it is
// ready or has failed, if that is within wait (at most five minutes).
func (c *Client) CreateRunspace(ctx context.Context, in RunspaceCreate, wait time.Duration) (Runspace, error) {
	return call[Runspace](ctx, c, http.MethodPost, "/v1/runspaces", waitQuery(wait), in)
}

// ListRunspaces returns a page of runspaces, newest first.
func (c *Client) ListRunspaces(ctx context.Context, p Page) (RunspaceList, error) {
	return call[RunspaceList](ctx, c, http.MethodGet, "/v1/runspaces", p.query(), nil)
}

// GetRunspace returns a runspace. With wait > 0 it returns when the runspace has
// left the state creating or wait is over.
func (c *Client) GetRunspace(ctx context.Context, id string, wait time.Duration) (Runspace, error) {
	return call[Runspace](ctx, c, http.MethodGet, at("runspaces", id), waitQuery(wait), nil)
}

// InterruptRunspace cancels what runs in a runspace, which stays with its
// variables; it returns once the interrupt is sent. Nothing happens when nothing
// runs.
func (c *Client) InterruptRunspace(ctx context.Context, id string) (Runspace, error) {
	return call[Runspace](ctx, c, http.MethodPost, at("runspaces", id, "interrupt"), nil, nil)
}

// ResetRunspace gives a runspace a fresh instance with the same workspace; its
// variables are gone. The credentials of a connection script have to be given
// again. With wait > 0 it returns when the runspace is ready or has failed, if that
// is within wait.
func (c *Client) ResetRunspace(ctx context.Context, id string, in RunspaceReset, wait time.Duration) (Runspace, error) {
	return call[Runspace](ctx, c, http.MethodPost, at("runspaces", id, "reset"), waitQuery(wait), in)
}

// DeleteRunspace ends what runs in a runspace and returns once its sandbox is gone.
func (c *Client) DeleteRunspace(ctx context.Context, id string) error {
	return c.remove(ctx, at("runspaces", id))
}

// filePath keeps the slashes of a path in the workspace and escapes the rest.
func filePath(runspace, name string) string {
	segments := strings.Split(name, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return at("runspaces", runspace, "files") + "/" + strings.Join(segments, "/")
}

// ListFiles lists a directory of the workspace; "" is its top.
func (c *Client) ListFiles(ctx context.Context, runspace, dir string) (FileList, error) {
	path := at("runspaces", runspace, "files")
	if dir = strings.Trim(dir, "/"); dir != "" {
		path = filePath(runspace, dir) + "/"
	}
	return call[FileList](ctx, c, http.MethodGet, path, nil, nil)
}

// ReadFile opens a file of the workspace. A file that changes while it is read
// ends with io.ErrUnexpectedEOF.
func (c *Client) ReadFile(ctx context.Context, runspace, name string) (io.ReadCloser, error) {
	r, err := c.request(ctx, http.MethodGet, filePath(runspace, name), nil, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.send(r)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// WriteFile makes or replaces a file of the workspace.
func (c *Client) WriteFile(ctx context.Context, runspace, name string, content io.Reader) (FileEntry, error) {
	r, err := c.request(ctx, http.MethodPut, filePath(runspace, name), nil, content)
	if err != nil {
		return FileEntry{}, err
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	resp, err := c.send(r)
	if err != nil {
		return FileEntry{}, err
	}
	return decode[FileEntry](resp)
}

// DeleteFile deletes a file or an empty directory. A directory that is not empty
// is refused (invalid), and so is a path that leads out of the workspace.
func (c *Client) DeleteFile(ctx context.Context, runspace, name string) error {
	return c.remove(ctx, filePath(runspace, name))
}
