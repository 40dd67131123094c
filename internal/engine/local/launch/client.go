package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// Client starts keepers through a launcher process, which it starts when it is
// needed and again when it has died. Its methods may be called at any time.
type Client struct {
	binary int                  // descriptor of the sealed memfd
	below  int                  // the number before that, which nobody else is to have
	root   func() protocol.Root // what to prepare, without the placed files
	answer time.Duration        // how long the launcher may take for one keeper

	mu     sync.Mutex
	placed map[string]string // more files of the root, by path
	era    int
	cmd    *exec.Cmd
	socket int // ours of the pair; -1 when there is no launcher
	closed bool
}

// answerTime is how long a launcher may take to start a keeper. The first one
// waits for the root to be prepared as well, on a machine that may be busy.
const answerTime = time.Minute

// Keeper says what one keeper is to be started with. The descriptors stay the
// caller's.
type Keeper struct {
	Base, Size   int // uid and gid range on the host
	Stderr       int
	Listen, Lock int
	CgroupFD     int // directory of a cgroup v2 to be born in; < 0 is none
}

// NewClient prepares binary (the bytes of remuda-init) to be executed from
// memory. root says, each time that a launcher is started, what the root of its
// sandboxes holds.
func NewClient(binary []byte, root func() protocol.Root) (*Client, error) {
	fd, below, err := sealed(binary)
	if err != nil {
		return nil, err
	}
	return &Client{binary: fd, below: below, root: root, answer: answerTime, placed: map[string]string{}, socket: -1}, nil
}

// sealed returns a memfd that holds content and can never be changed, so that a
// sandbox which gets hold of /proc/1/exe cannot write to the next one's. The number
// below its own is taken too, by the same memfd.
func sealed(content []byte) (fd, below int, err error) {
	const name = "remuda-init"
	fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 there was no MFD_EXEC
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return -1, -1, fmt.Errorf("make a memfd for remuda-init: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }() // the duplicate below is the one that stays
	if _, err := f.Write(content); err != nil {
		return -1, -1, fmt.Errorf("fill the memfd of remuda-init: %w", err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE); err != nil {
		return -1, -1, fmt.Errorf("seal the memfd of remuda-init: %w", err)
	}
	if err := f.Chmod(0o755); err != nil {
		return -1, -1, fmt.Errorf("make the memfd of remuda-init executable: %w", err)
	}
	// A high number, so that a child which puts its descriptors in order does not
	// overwrite it before the exec. Nor may it stand right above one that the child is
	// given: a child of Go's moves a pipe of its own to the number after the highest
	// of these, whatever is there.
	if below, err = duplicate(f, 100); err != nil {
		return -1, -1, err
	}
	for {
		if fd, err = duplicate(f, below+1); err != nil {
			_ = unix.Close(below)
			return -1, -1, err
		}
		if fd == below+1 {
			return fd, below, nil
		}
		_ = unix.Close(below)
		below = fd
	}
}

// duplicate gives f another descriptor, of the least number from least on.
func duplicate(f *os.File, least int) (int, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, least)
	if err != nil {
		return -1, fmt.Errorf("duplicate the memfd of %s: %w", f.Name(), err)
	}
	return fd, nil
}

// Pid is the launcher's process, 0 while there is none.
func (c *Client) Pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.socket < 0 {
		return 0
	}
	return c.cmd.Process.Pid
}

// Path names the program for an exec of this process.
func (c *Client) Path() string { return fmt.Sprintf("/proc/self/fd/%d", c.binary) }

// Place has a small file in the root of every sandbox cloned from now on. What
// is prepared is never changed, so a new file takes a new launcher, which begins
// a new era.
func (c *Client) Place(path, content string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have, ok := c.placed[path]; ok && have == content {
		return
	}
	c.placed[path] = content
	c.era++
	c.reap()
}

// Era is how often the root has changed: a keeper of an earlier one lacks a file.
func (c *Client) Era() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.era
}

// Start starts one keeper and returns its pid and a pidfd. It is a child of this
// process.
func (c *Client) Start(k Keeper) (pid, pidfd int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, -1, errors.New("the launcher is closed")
	}
	if c.socket < 0 {
		if err := c.spawn(); err != nil {
			return 0, -1, err
		}
	}
	req := request{Base: k.Base, Size: k.Size}
	fds := []int{k.Stderr, k.Listen, k.Lock}
	if k.CgroupFD >= 0 {
		req.InCgroup, fds = true, append(fds, k.CgroupFD)
	}
	var ans reply
	err = send(c.socket, req, fds...)
	var got []int
	if err == nil {
		err = readable(c.socket, c.answer)
	}
	if err == nil {
		got, err = receive(c.socket, &ans)
	}
	if err != nil { // the launcher has died or hangs; the next Start makes another
		closeAll(got)
		c.reap()
		return 0, -1, fmt.Errorf("ask the launcher: %w", err)
	}
	if ans.Error != "" || len(got) != 1 {
		closeAll(got)
		return 0, -1, fmt.Errorf("launcher: %s", ans.Error)
	}
	return ans.Pid, got[0], nil
}

// spawn starts the launcher process.
func (c *Client) spawn() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make the launcher's socket: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "launcher")
	defer func() { _ = theirs.Close() }()
	root, err := c.describeRoot()
	if err != nil {
		_ = unix.Close(pair[0])
		return err
	}
	defer func() { _ = root.Close() }()
	cmd := &exec.Cmd{
		Path: c.Path(),
		Args: []string{protocol.KeeperArg0, protocol.LaunchArg},
		// It allocates a few KB for each keeper and has nothing to collect.
		Env:        []string{"GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=16MiB"},
		Dir:        "/",
		ExtraFiles: []*os.File{theirs, root},
		// Where it prepares the root; nothing of it shows on the machine.
		SysProcAttr: &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS},
	}
	if err := cmd.Start(); err != nil {
		_ = unix.Close(pair[0])
		return fmt.Errorf("start the launcher: %w", err)
	}
	c.cmd, c.socket = cmd, pair[0]
	return nil
}

// describeRoot writes what is to be prepared into a memfd.
func (c *Client) describeRoot() (*os.File, error) {
	root := c.root()
	for path, content := range c.placed {
		root.Files = append(root.Files, protocol.Text{Path: path, Content: content})
	}
	fd, err := unix.MemfdCreate("root", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a memfd for the launcher: %w", err)
	}
	f := os.NewFile(uintptr(fd), "root")
	_, err = f.Write(protocol.AppendMessage(nil, &root))
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("describe the root to the launcher: %w", err), f.Close())
	}
	return f, nil
}

// reap closes the socket, upon which the launcher ends, and waits for it.
func (c *Client) reap() {
	if c.socket < 0 {
		return
	}
	_ = unix.Close(c.socket)
	c.socket = -1
	_ = c.cmd.Process.Kill() // it may have hung instead of died
	_ = c.cmd.Wait()         // why it ended is of no use to anyone
}

// Close ends the launcher. Keepers live on.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	c.reap()
	_ = unix.Close(c.binary)
	_ = unix.Close(c.below)
}
