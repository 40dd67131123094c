package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/engine/keeper"
	"github.com/remuda-run/remuda/internal/engine/local/cgroup"
	"github.com/remuda-run/remuda/internal/engine/local/launch"
)

// A blank is a sandbox's first process before it is told what to become: cloned
// into its namespaces, with its uid range, in its cgroup, connected. It is used
// once, for whatever instance comes next.
type blank struct {
	name   string // of its cgroup and, before it is an instance, its socket
	uids   *uidRange
	group  *cgroup.Group
	spares *cgroup.Spares // that take the group when nothing is in it; nil is none
	proc   *process
	conn   *keeper.Conn
	socket string // path
	era    int    // of the launcher, when this was begun
	owner  int    // host uid and gid of its user 0
	forked bool   // from a template, whose keeper, socket and uids it shares
	shared *sharedKeeper
	from   *stock // that waits to be told to replace it; nil is none
}

// keeperOOMScore protects the keeper from the OOM killer: it has to live to say
// what happened. Not -1000, so that a v2 cgroup can still be killed as one.
const keeperOOMScore = -999

// protect lowers the keeper's score. That needs CAP_SYS_RESOURCE, which root in
// some virtual machines and containers lacks; there the keeper, which raises the
// score of all others, is still the last to be chosen, and a kill for memory is
// known by the cgroup's counter whoever it hits.
func protect(pid int) error {
	err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), fmt.Append(nil, keeperOOMScore), 0)
	if err != nil && !errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("protect the keeper from the OOM killer: %w", err)
	}
	return nil
}

// makeBlank makes one. On error nothing is left of it.
func (e *Engine) makeBlank(ctx context.Context) (_ *blank, err error) {
	b := &blank{name: "blank-" + randomHex(8), era: e.launcher.Era()}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.destroy(ctx))
		}
	}()
	if b.uids, err = e.uids.acquire(); err != nil {
		return nil, err
	}
	b.owner = b.uids.base()
	if b.group, err = e.herd.Create(b.name); err != nil {
		return nil, err
	}
	if err := b.group.Yield(true); err != nil {
		return nil, err
	}
	b.socket = e.dir.socket(b.name)
	listener, err := listen(e.dir.run, b.name+".sock")
	if err != nil {
		return nil, err
	}
	defer func() { _ = listener.Close() }() // the keeper has its own
	pid, pidfd, err := e.launcher.Start(launch.Keeper{
		Base: b.uids.base(), Size: uidCount, Stderr: e.words.fd(),
		// Not born in its cgroup on v2 either: clone3 takes CLONE_PARENT only with
		// no exit signal, and package syscall always gives one.
		Listen: int(listener.Fd()), Lock: int(b.uids.file.Fd()), CgroupFD: -1,
	})
	if err != nil {
		return nil, fmt.Errorf("start the first process of a sandbox: %w", err)
	}
	if b.proc, err = newProcess(pid, pidfd); err != nil {
		return nil, err
	}
	if err := b.group.Admit(pid); err != nil {
		return nil, err
	}
	if err := protect(pid); err != nil {
		return nil, err
	}
	if err := b.group.Watch(); err != nil {
		return nil, err
	}
	c, err := dial(ctx, e.dir.run, b.name+".sock")
	if err != nil {
		return nil, err
	}
	if b.conn, err = keeper.NewConn(ctx, c); err != nil {
		return nil, err
	}
	return b, nil
}

// alive asks the kernel whether the blank still waits.
func (b *blank) alive() bool { return !b.proc.Exited() && !b.conn.Gone() }

// destroy removes all of a blank. It also takes one that is half made.
func (b *blank) destroy(ctx context.Context) error {
	// What is begun is finished, also when the caller has no more time.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keeper.CleanupTime)
	defer cancel()
	var errs []error
	if b.proc != nil {
		errs = append(errs, b.proc.Kill(), b.proc.Wait())
	}
	return errors.Join(append(errs, b.clear(ctx))...)
}

// leave lets go of a blank's processes and of what they are in.
func (b *blank) leave() {
	b.conn.Close()
	b.proc.close()
	b.group.Close()
	if b.uids != nil {
		b.uids.close() // the keeper has the lock too
	}
}

// clear removes what is left when the first process is gone.
func (b *blank) clear(ctx context.Context) error {
	var errs []error
	if b.conn != nil {
		b.conn.Close()
	}
	if b.proc != nil {
		b.proc.close()
	}
	switch {
	case b.spares != nil:
		errs = append(errs, b.spares.Put(ctx, b.group))
	case b.group != nil:
		errs = append(errs, b.group.Clear(ctx))
	}
	if b.socket != "" {
		errs = append(errs, remove(b.socket))
	}
	if b.uids != nil {
		b.uids.close()
	}
	return errors.Join(errs...)
}

// backlog is how many connections may wait for a keeper. A template's has one for
// each instance that is asked for while it is busy.
const backlog = 512

// listen makes a listening socket. Its path is given through a descriptor of the
// directory: the kernel takes 107 bytes, and data directories can be deep.
func listen(dir, name string) (*os.File, error) {
	short, done, err := shortPath(dir, name)
	if err != nil {
		return nil, err
	}
	defer done()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: short}); err != nil {
		return nil, errors.Join(fmt.Errorf("bind socket %s: %w", name, err), f.Close())
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on socket %s: %w", name, err), f.Close())
	}
	return f, nil
}

func shortPath(dir, name string) (string, func(), error) {
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, fmt.Errorf("open the directory of sockets: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name), func() { _ = d.Close() }, nil
}

// dial connects to a keeper's socket.
func dial(ctx context.Context, dir, name string) (*net.UnixConn, error) {
	short, done, err := shortPath(dir, name)
	if err != nil {
		return nil, err
	}
	defer done()
	var dialer net.Dialer
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		c, err := dialer.DialContext(ctx, "unix", short)
		switch {
		case err == nil:
			return c.(*net.UnixConn), nil
		case !errors.Is(err, unix.EAGAIN): // the kernel says so, without waiting, when too many wait already
			return nil, fmt.Errorf("connect to the keeper: %w", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to the keeper: %w", errors.Join(context.Cause(ctx), err))
		}
	}
}
