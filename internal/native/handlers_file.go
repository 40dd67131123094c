package native

import (
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

// uploadTimeout is how long the body of a file may take.
const uploadTimeout = 10 * time.Minute

func (e *edge) listFiles(c *call) error { return e.list(c, "") }

func (e *edge) list(c *call, dir string) error {
	items, err := e.Files.ListFiles(c.ctx(), c.p, remuda.RunspaceID(c.r.PathValue("runspace")), dir)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, api.FileList{Items: each(items, fileWire)})
}

func (e *edge) readFile(c *call) error {
	name, isDir := strings.CutSuffix(c.r.PathValue("path"), "/")
	if err := checkFilePath(name); err != nil {
		return err
	}
	if isDir {
		return e.list(c, name)
	}
	info, content, err := e.Files.ReadFile(c.ctx(), c.p, remuda.RunspaceID(c.r.PathValue("runspace")), name)
	if err != nil {
		return err
	}
	defer content.Close()
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(info.Size, 10))
	// The browser must never show a script's file in our origin.
	h.Set("Content-Disposition", attachment(path.Base(name)))
	h.Set("Last-Modified", info.ModifiedAt.UTC().Format(http.TimeFormat))
	if c.r.Method == http.MethodHead {
		c.w.WriteHeader(http.StatusOK)
		return nil
	}
	// A script may change the file while it is read: the answer has the
	// announced length or is cut off, never padded or run over.
	c.w.WriteHeader(http.StatusOK)
	_, err = io.CopyN(c.w, content, info.Size)
	return err
}

// attachment makes a Content-Disposition; a name that no header can carry is left out.
func attachment(name string) string {
	if v := mime.FormatMediaType("attachment", map[string]string{"filename": name}); v != "" {
		return v
	}
	return "attachment"
}

func (e *edge) writeFile(c *call) error {
	name := c.r.PathValue("path")
	if err := checkFilePath(name); err != nil {
		return err
	}
	if c.r.Header.Get("Content-Encoding") != "" {
		return &remuda.Error{Code: remuda.CodeInvalid, Message: "the content of a file is taken as it is", Cause: "the request has a Content-Encoding", Remedy: "send the bytes unencoded"}
	}
	if c.r.ContentLength > remuda.MaxFileBytes {
		return httpapi.BodyError(&http.MaxBytesError{Limit: remuda.MaxFileBytes})
	}
	httpapi.AllowReading(c.r, uploadTimeout)
	body := &uploadReader{r: http.MaxBytesReader(c.w, c.r.Body, remuda.MaxFileBytes)}
	info, err := e.Files.WriteFile(c.ctx(), c.p, remuda.RunspaceID(c.r.PathValue("runspace")), name, body)
	if body.err != nil {
		// Whatever the service made of it, this is what went wrong.
		return httpapi.BodyError(body.err)
	}
	if err != nil {
		return err
	}
	httpapi.BodyRead(c.r)
	return c.reply(http.StatusOK, fileWire(info))
}

// uploadReader remembers why the body could not be read.
type uploadReader struct {
	r   io.Reader
	err error
}

func (u *uploadReader) Read(b []byte) (int, error) {
	n, err := u.r.Read(b)
	if err != nil && err != io.EOF {
		u.err = err
	}
	return n, err
}

func (e *edge) deleteFile(c *call) error {
	name := strings.TrimSuffix(c.r.PathValue("path"), "/")
	if err := checkFilePath(name); err != nil {
		return err
	}
	if err := e.Files.DeleteFile(c.ctx(), c.p, remuda.RunspaceID(c.r.PathValue("runspace")), name); err != nil {
		return err
	}
	return c.noContent()
}

// Limits of a path, as Linux has them.
const (
	maxPath    = 4095
	maxSegment = 255
)

// checkFilePath refuses what no file of a workspace is called. Links are the
// engine's business; this keeps nonsense from reaching it.
func checkFilePath(name string) error {
	if message := filePathProblem(name); message != "" {
		return remuda.Invalid(remuda.FieldError{Field: "path", Message: message})
	}
	return nil
}

// filePathProblem says what is wrong with a path, or nothing.
func filePathProblem(name string) string {
	if len(name) > maxPath {
		return "must have at most 4095 bytes"
	}
	if strings.HasPrefix(name, "/") {
		return "must be relative to the workspace"
	}
	for i := range len(name) {
		if name[i] < 0x20 || name[i] == 0x7f {
			return "must have no control characters"
		}
	}
	for segment := range strings.SplitSeq(name, "/") {
		switch {
		case segment == "":
			return "must have no empty segment"
		case segment == "." || segment == "..":
			return "must have no \".\" or \"..\" segment"
		case len(segment) > maxSegment:
			return "must have no segment of more than 255 bytes"
		}
	}
	return ""
}
