package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// Namespaces are what every keeper gets of its own.
const Namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// Main runs the launcher until its socket is closed and returns its exit code.
// prepare turns the process's mount namespace into one to clone keepers from.
func Main(prepare func(*protocol.Root) error) int {
	unix.CloseOnExec(socketFD)
	null, err := begin(prepare)
	if err != nil {
		fmt.Fprintln(os.Stderr, "launcher:", err)
		refuse(err)
		return 1
	}
	for {
		err := serve(null)
		if errors.Is(err, errClosed) {
			return 0
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "launcher:", err)
			return 1
		}
	}
}

// begin does what comes before the first keeper and returns the null device,
// which is out of sight afterwards.
func begin(prepare func(*protocol.Root) error) (null int, err error) {
	root, err := readRoot(rootFD)
	if err != nil {
		return -1, err
	}
	if null, err = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return -1, fmt.Errorf("open /dev/null: %w", err)
	}
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return -1, err
	}
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", os.Getppid()))
	if err != nil {
		return -1, err
	}
	if own == theirs {
		return -1, errors.New("it was not started in a mount namespace of its own: this program is started by remuda only")
	}
	if err := prepare(root); err != nil {
		return -1, fmt.Errorf("prepare the root of sandboxes: %w", err)
	}
	return null, raiseLimits()
}

// raiseLimits lifts the limits that the kernel holds the users of all namespaces
// to that a process makes, counted together: message queues of 800 KiB for all
// sandboxes of a machine. Interpreters are given limits of their own.
func raiseLimits() error {
	for _, resource := range []int{unix.RLIMIT_MEMLOCK, unix.RLIMIT_MSGQUEUE, unix.RLIMIT_SIGPENDING} {
		limit := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
		err := unix.Setrlimit(resource, &limit)
		if errors.Is(err, unix.EPERM) { // without CAP_SYS_RESOURCE: as far as one may
			if err = unix.Getrlimit(resource, &limit); err == nil {
				limit.Cur = limit.Max
				err = unix.Setrlimit(resource, &limit)
			}
		}
		if err != nil {
			return fmt.Errorf("raise limit %d: %w", resource, err)
		}
	}
	return nil
}

// readRoot reads what the root is to hold from a memfd.
func readRoot(fd int) (*protocol.Root, error) {
	f := os.NewFile(uintptr(fd), "root")
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read the description of the root: %w", err)
	}
	root := &protocol.Root{}
	if err := protocol.Decode(b, root); err != nil {
		return nil, fmt.Errorf("read the description of the root: %w", err)
	}
	return root, nil
}

// refuse answers the first request with why there is no launcher.
func refuse(why error) {
	var req request
	fds, err := receive(socketFD, &req)
	closeAll(fds)
	if err == nil {
		_ = send(socketFD, reply{Error: why.Error()}) // it is on stderr as well
	}
}

// serve handles one request. Its error ends the launcher.
func serve(null int) error {
	var req request
	fds, err := receive(socketFD, &req)
	defer func() { closeAll(fds) }()
	if err != nil {
		return err
	}
	pid, pidfd, err := start(null, req, fds)
	if err != nil {
		return send(socketFD, reply{Error: err.Error()})
	}
	defer closeAll([]int{pidfd})
	return send(socketFD, reply{Pid: pid}, pidfd)
}

// start clones and executes one keeper.
func start(null int, req request, fds []int) (pid, pidfd int, err error) {
	if want := 3; len(fds) != want && !req.InCgroup || len(fds) != want+1 && req.InCgroup {
		return 0, -1, fmt.Errorf("got %d descriptors", len(fds))
	}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: req.Base, Size: req.Size}}
	pidfd = -1
	attr := &syscall.ProcAttr{
		Dir:   "/",
		Env:   protocol.KeeperEnv(),
		Files: []uintptr{uintptr(null), uintptr(null), uintptr(fds[0]), uintptr(fds[1]), uintptr(fds[2])},
		Sys: &syscall.SysProcAttr{
			Cloneflags: Namespaces | unix.CLONE_PARENT,
			// Set here and not by the keeper: as long as it had the host's uid 0,
			// its process files would belong to the host's root.
			Credential:                 &syscall.Credential{Uid: 0, Gid: 0},
			UidMappings:                ids,
			GidMappings:                ids,
			GidMappingsEnableSetgroups: true,
			Setsid:                     true,
			PidFD:                      &pidfd,
		},
	}
	if req.InCgroup {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, fds[3]
	}
	// The launcher's own binary: a sealed memfd, which needs no path in the
	// child's mounts.
	pid, err = syscall.ForkExec("/proc/self/exe", []string{protocol.KeeperArg0}, attr)
	if err != nil {
		return 0, -1, fmt.Errorf("clone keeper: %w", err)
	}
	if pidfd < 0 {
		// Without a pidfd nobody could tell the keeper from a later process of
		// the same number.
		_ = unix.Kill(pid, unix.SIGKILL)
		return 0, -1, errors.New("clone keeper: the kernel gives no pidfd; Linux 5.14 or later is needed")
	}
	return pid, pidfd, nil
}
