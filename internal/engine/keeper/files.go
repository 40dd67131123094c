package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// workspace is the engine.Files of an instance. The keeper does the work, inside
// the sandbox: no path of a script is ever resolved on the host's side.
type workspace struct{ inst *Instance }

var _ engine.Files = workspace{}

// Files implements engine.Instance.
func (i *Instance) Files() engine.Files { return workspace{i} }

// fileCalls are the file operations that wait for the keeper.
type fileCalls struct {
	mu    sync.Mutex
	next  uint32
	calls map[uint32]*fileCall
	over  bool
}

// fileCall is one of them.
type fileCall struct {
	req     uint32
	reading bool   // data follows the reply
	into    *spool // of a read
	limit   int64
	got     int64
	reply   *protocol.FileReply
	err     error         // of our side
	done    chan struct{} // closed when the answer is complete or the sandbox has ended
}

// begin registers an operation. It must be removed with end.
func (c *fileCalls) begin(into *spool, limit int64) (*fileCall, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return nil, errEnded
	}
	if c.calls == nil {
		c.calls = map[uint32]*fileCall{}
	}
	c.next++
	call := &fileCall{req: c.next, reading: into != nil, into: into, limit: limit, done: make(chan struct{})}
	c.calls[call.req] = call
	return call, nil
}

var errEnded = errors.New("the sandbox has ended")

// settle marks a call as complete. The caller holds the lock.
func (call *fileCall) settle() {
	select {
	case <-call.done:
	default:
		close(call.done)
	}
}

// abandoned is a call that its caller no longer waits for; what still comes for
// it is thrown away.
func (c *fileCalls) abandon(call *fileCall) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-call.done: // complete: nothing will come
		delete(c.calls, call.req)
	default:
		call.into = nil
	}
}

// reply takes the keeper's answer.
func (c *fileCalls) reply(r protocol.FileReply) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	call := c.calls[r.Req]
	if call == nil || call.reply != nil {
		return fmt.Errorf("%w: a reply to file request %d, which does not wait", errProtocol, r.Req)
	}
	call.reply = &r
	if !call.reading || r.Code != "" {
		delete(c.calls, r.Req)
		call.settle()
	}
	return nil
}

// data takes a piece of a file that is read; an empty one is the end.
func (c *fileCalls) data(req uint32, p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	call := c.calls[req]
	if call == nil || !call.reading || call.reply == nil {
		return fmt.Errorf("%w: data for file request %d, which does not wait", errProtocol, req)
	}
	call.got += int64(len(p))
	switch {
	case call.got > call.limit:
		return fmt.Errorf("%w: more data for file request %d than asked for", errProtocol, req)
	case len(p) == 0:
		delete(c.calls, req)
		call.settle()
	case call.into != nil && call.err == nil:
		_, call.err = call.into.Write(p)
	}
	return nil
}

// fail ends all that wait.
func (c *fileCalls) fail() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	for req, call := range c.calls {
		if call.err == nil {
			call.err = errEnded
		}
		delete(c.calls, req)
		call.settle()
	}
}

// wait returns the keeper's answer as our words.
func (w workspace) wait(ctx context.Context, call *fileCall) (*protocol.FileReply, error) {
	select {
	case <-call.done:
	case <-ctx.Done():
		w.inst.files.abandon(call)
		return nil, remuda.Errorf(engine.ContextCode(ctx), "wait for the sandbox's files: %w", ctx.Err())
	}
	switch {
	case errors.Is(call.err, errEnded):
		return nil, w.inst.Lost(nil)
	case call.err != nil:
		return nil, remuda.Internal("keeping a file of a sandbox", call.err)
	case call.reply.Code != "":
		return nil, fileError(call.reply)
	default:
		return call.reply, nil
	}
}

// fileError turns a reply into our error. A code that the keeper may not use is
// our fault.
func fileError(r *protocol.FileReply) error {
	switch code := remuda.Code(r.Code); code {
	case remuda.CodeNotFound, remuda.CodeInvalid, remuda.CodeTooLarge, remuda.CodeExhausted:
		return &remuda.Error{Code: code, Message: r.Error}
	default:
		return remuda.Internal("using a file of a sandbox", errors.New(r.Error))
	}
}

// checkPath refuses what would not reach the keeper unchanged. The rest is its
// own business.
func checkPath(path string) error {
	if !utf8.ValidString(path) {
		return remuda.Invalid(remuda.FieldError{Field: "path", Message: "must be UTF-8"})
	}
	return nil
}

// call sends a request and waits for its answer.
func (w workspace) call(ctx context.Context, into *spool, req protocol.FileRequest) (*protocol.FileReply, error) {
	if err := checkPath(req.Path); err != nil {
		return nil, err
	}
	call, err := w.inst.files.begin(into, req.Limit)
	if err != nil {
		return nil, w.inst.Lost(nil)
	}
	req.Req = call.req
	if err := w.inst.conn.send(protocol.TypeFile, &req); err != nil {
		w.inst.files.abandon(call)
		return nil, w.inst.Lost(err)
	}
	return w.wait(ctx, call)
}

// Read implements engine.Files. The content is kept on our side when it returns,
// so that a slow reader does not hold up the sandbox.
func (w workspace) Read(ctx context.Context, path string, limit int64) (remuda.FileInfo, io.ReadCloser, error) {
	into := newSpool(w.inst.opts.SpoolDir)
	reply, err := w.call(ctx, into, protocol.FileRequest{Op: "read", Path: path, Limit: limit})
	if err != nil {
		_ = into.Close()
		return remuda.FileInfo{}, nil, err
	}
	info, err := single(reply)
	if err == nil {
		err = into.rewind()
	}
	if err != nil {
		_ = into.Close()
		return remuda.FileInfo{}, nil, remuda.Internal("reading a file of a sandbox", err)
	}
	info.Size = into.size // of what is given; a script may have written meanwhile
	return info, into, nil
}

// Write implements engine.Files. The content is taken in whole before the
// sandbox hears of it, so that half a file never gets there.
func (w workspace) Write(ctx context.Context, path string, content io.Reader, limit int64) (remuda.FileInfo, error) {
	if err := checkPath(path); err != nil {
		return remuda.FileInfo{}, err
	}
	all := newSpool(w.inst.opts.SpoolDir)
	defer func() { _ = all.Close() }()
	n, err := io.Copy(all, io.LimitReader(content, limit+1))
	if err != nil {
		return remuda.FileInfo{}, fmt.Errorf("take in a file: %w", err)
	}
	if n > limit {
		return remuda.FileInfo{}, &remuda.Error{Code: remuda.CodeTooLarge, Message: fmt.Sprintf("the file %q has more than %d bytes", path, limit), Remedy: "send less"}
	}
	if err := all.rewind(); err != nil {
		return remuda.FileInfo{}, remuda.Internal("keeping a file for a sandbox", err)
	}
	reply, err := w.send(ctx, path, all, limit)
	if err != nil {
		return remuda.FileInfo{}, err
	}
	info, err := single(reply)
	if err != nil {
		return remuda.FileInfo{}, remuda.Internal("writing a file of a sandbox", err)
	}
	return info, nil
}

// send sends a file and waits for the answer, which may come early with an error.
func (w workspace) send(ctx context.Context, path string, content io.Reader, limit int64) (*protocol.FileReply, error) {
	call, err := w.inst.files.begin(nil, 0)
	if err != nil {
		return nil, w.inst.Lost(nil)
	}
	conn := w.inst.conn
	err = conn.send(protocol.TypeFile, &protocol.FileRequest{Req: call.req, Op: "write", Path: path, Limit: limit})
	buf := make([]byte, protocol.FileChunk)
	for err == nil {
		n, readErr := io.ReadFull(content, buf)
		if n > 0 && !call.settled() {
			err = conn.sendRaw(protocol.TypeFileData, protocol.AppendFileData(nil, call.req, buf[:n]))
		}
		if readErr != nil { // the end of what we hold ourselves
			break
		}
	}
	if err == nil {
		err = conn.sendRaw(protocol.TypeFileData, protocol.AppendFileData(nil, call.req, nil))
	}
	if err != nil {
		w.inst.files.abandon(call)
		return nil, w.inst.Lost(err)
	}
	return w.wait(ctx, call)
}

func (call *fileCall) settled() bool {
	select {
	case <-call.done:
		return true
	default:
		return false
	}
}

// List implements engine.Files.
func (w workspace) List(ctx context.Context, path string, limit int) ([]remuda.FileInfo, error) {
	reply, err := w.call(ctx, nil, protocol.FileRequest{Op: "list", Path: path, Limit: int64(limit)})
	if err != nil {
		return nil, err
	}
	infos := make([]remuda.FileInfo, len(reply.Entries))
	for n, entry := range reply.Entries {
		infos[n] = infoOf(entry)
	}
	return infos, nil
}

// Remove implements engine.Files.
func (w workspace) Remove(ctx context.Context, path string) error {
	_, err := w.call(ctx, nil, protocol.FileRequest{Op: "remove", Path: path})
	return err
}

func single(r *protocol.FileReply) (remuda.FileInfo, error) {
	if len(r.Entries) != 1 {
		return remuda.FileInfo{}, fmt.Errorf("the keeper described %d files instead of one", len(r.Entries))
	}
	return infoOf(r.Entries[0]), nil
}

func infoOf(e protocol.FileEntry) remuda.FileInfo {
	return remuda.FileInfo{Path: e.Path, Size: e.Size, Mode: fs.FileMode(e.Mode), ModifiedAt: time.UnixMicro(e.MtimeUS).UTC()}
}
