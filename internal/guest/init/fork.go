package guestinit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/channel"
	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// forked is what the keeper of a forked instance has beside an ordinary
// keeper's.
type forked struct {
	first int            // number of its first process; 0 until the template has told
	pidfd int            // of that
	door  int            // its connection; -1 while there is none
	user  int            // what its user 0 is in the template's user namespace
	disk  int            // descriptor of its writable file system
	made  map[int]fileID // what its interpreter's descriptors are
	begin bool           // it is in its cgroup, and may begin to build
	told  bool           // it was found to lead to nobody, and knows that it may
	asked bool           // Setup came before the process had connected
	look  time.Time      // when to look at the first process again
	socks time.Time      // when sockets were first counted that may be closed
	still time.Time      // when to look whether the interpreter has ended, unless the first process tells
}

// acceptChild takes a connection that will be an instance's.
func (k *keeper) acceptChild(fd int) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		_ = unix.Close(fd)
		return
	}
	child := &keeper{epoll: epoll, listen: -1, wake: -1, parent: k, primed: true}
	child.conn = &conn{fd: fd, writable: true}
	if err := errors.Join(child.watch(fd), k.watch(epoll)); err != nil {
		_, _ = unix.Close(fd), unix.Close(epoll)
		return
	}
	k.template.children[epoll] = child
}

// bury lets go of a child that is done.
func (k *keeper) bury(child *keeper) {
	t := k.template
	delete(t.children, child.epoll)
	delete(t.timed, child)
	child.killAll()
	child.dropConn()
	if child.run != nil {
		child.run.drop()
	}
	if f := child.child; f != nil {
		for _, fd := range []int{f.door, f.disk} {
			if fd >= 0 {
				_ = unix.Close(fd)
			}
		}
	}
	if d := child.driver; d != nil {
		d.close()
	}
	if child.files.root != nil {
		_ = child.files.root.Close()
	}
	_ = unix.Close(child.epoll)
	if t.forgetAt.IsZero() {
		t.forgetAt = time.Now().Add(forgetAfter)
	}
}

// fork asks the template for an instance.
func (k *keeper) fork(protocol.Fork) bool {
	if k.parent == nil || k.child != nil {
		return false
	}
	k.child = &forked{pidfd: -1, door: -1, disk: -1}
	t := k.parent.template
	switch {
	case t.over:
		k.fatal("fork", errors.New("the template has ended"))
	case len(t.users) == 0:
		k.fatal("fork", fmt.Errorf("the template has %d instances already", maxChildren))
	default:
		t.waiting = append(t.waiting, k)
		k.parent.driver.out = channel.AppendFork(k.parent.driver.out)
	}
	return true
}

// forked takes the template's word that it has cloned a child.
func (k *keeper) forked(child *keeper, pid int) {
	t := k.template
	pidfd, err := unix.PidfdOpen(pid, 0)
	switch {
	case err != nil:
		err = fmt.Errorf("the template's child %d: %w", pid, err)
	case t.known[pid] != nil || pid == k.driver.pid:
		err = fmt.Errorf("the template named process %d, which is no new child", pid)
	case child.done || k.template.children[child.epoll] != child:
		_ = unix.Kill(pid, unix.SIGKILL) // nobody waits for it any more
		_ = unix.Close(pidfd)
		return
	}
	f := child.child
	if err == nil {
		f.first, f.pidfd = pid, pidfd
		f.user, t.users = t.users[0], t.users[1:]
		t.known[pid] = child
		err = writeMaps(pid, f.user)
	}
	t.stirred[child] = true
	if err != nil {
		child.fatal("fork", err)
		return
	}
	child.sendWithFD(protocol.TypeForked, &protocol.Forked{User: f.user}, pidfd)
}

// writeMaps gives the child its own users: 0, 1000 and nobody, of the template's
// range.
func writeMaps(pid, user int) error {
	content := []byte(fmt.Sprintf("0 %d 1\n%d %d 1\n%d %d 1\n", user, sandboxUser, user+1, nobody, user+2))
	for _, name := range []string{"/uid_map", "/gid_map"} {
		fd, err := unix.Open(fullProc+"/"+itoa(pid)+name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return wrap(err, "open", name)
		}
		_, err = unix.Write(fd, content)
		_ = unix.Close(fd)
		if err != nil {
			return wrap(err, "write", name)
		}
	}
	return nil
}

// sendWithFD sends a frame with a descriptor, now: nothing else is queued when a
// child is told of.
func (k *keeper) sendWithFD(t protocol.Type, m protocol.Message, fd int) {
	if k.conn == nil {
		return
	}
	frame := protocol.AppendFrame(k.conn.out[k.conn.sent:len(k.conn.out):len(k.conn.out)], t, m)
	if err := unix.Sendmsg(k.conn.fd, frame, unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL); err != nil {
		k.dropConn()
		return
	}
	k.conn.out, k.conn.sent = k.conn.out[:0], 0
}

// answerDoor takes the connection of a process of the sandbox, if one waits. Only a
// first process that was found to lead to nobody keeps it: whoever else may have what
// it has connected with.
func (k *keeper) answerDoor() bool {
	t := k.template
	fd, _, err := unix.Accept4(t.door, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		return false
	}
	who, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	var child *keeper
	if err == nil {
		child = t.known[int(who.Pid)]
	}
	if child == nil || !child.child.told || child.child.door >= 0 {
		_ = unix.Close(fd)
		return true
	}
	if err := child.enterDoor(fd); err != nil {
		child.fatal("fork", err)
	}
	t.stirred[child] = true
	return true
}

// clearDoor turns away whoever has connected so far. More than this cannot have.
func (k *keeper) clearDoor() {
	for range 2 * maxKnocking {
		if !k.answerDoor() {
			return
		}
	}
}

// enterDoor is reached when the first process has connected.
func (k *keeper) enterDoor(fd int) error {
	k.child.door = fd
	if err := k.watch(fd); err != nil {
		return err
	}
	if k.child.asked {
		return k.handOver()
	}
	return nil
}

// prepare lets a forked process that is in its cgroup build what needs nothing
// of Setup.
func (k *keeper) prepare(protocol.Prepare) bool {
	f := k.child
	if f == nil || f.first == 0 || f.begin || k.setup != nil {
		return false
	}
	f.begin = true
	k.admit()
	return true
}

// admit has the first process begin to build, once it is seen to wait for that and to
// lead to nobody: before it is given anything. It connects to us then.
func (k *keeper) admit() {
	f := k.child
	if f.look = (time.Time{}); f.told || f.first == 0 {
		return
	}
	waits, err := k.leadsToNobody()
	switch {
	case !waits && err == nil:
		f.look = time.Now().Add(lookAgain) // as long as the server waits
		return
	case errors.Is(err, errSockets) && f.mayBeClosed():
		f.look = time.Now().Add(lookAgain)
		return
	case err == nil:
		f.told = true
		err = wrap(unix.PidfdSendSignal(f.pidfd, admission, nil, 0), "admit", "the first process")
	}
	if err != nil {
		k.fatal("inspection", err)
	}
}

// countedStill is how long a socket that is closed may still be counted.
const countedStill = 2 * time.Second

// mayBeClosed says whether to look once more at a network that has sockets. All is
// looked at again then, and is to be right at one time.
func (f *forked) mayBeClosed() bool {
	if f.socks.IsZero() {
		f.socks = time.Now()
	}
	return time.Since(f.socks) < countedStill
}

// enter lets a forked process become the instance.
func (k *keeper) enter(s protocol.Setup) bool {
	f := k.child
	if f == nil || f.first == 0 || k.setup != nil || !s.DiskFD || len(k.conn.rights) == 0 {
		return false
	}
	k.setup = &setupState{language: k.parent.language(), uid: f.user + 1, gid: f.user + 1, started: time.Now()}
	k.linger = time.Duration(s.LingerMS) * time.Millisecond
	f.disk, k.conn.rights = k.conn.rights[0], k.conn.rights[1:]
	if f.door < 0 {
		f.asked = true
		k.admit()
		return true
	}
	if err := k.handOver(); err != nil {
		k.fatal("fork", err)
	}
	return true
}

// language is what a template's instances speak.
func (k *keeper) language() string {
	if l := k.template.setup.Language; l != "" {
		return l
	}
	return k.setup.language
}

// handOver gives the first process what its interpreter will use, which is its
// word to go on.
func (k *keeper) handOver() error {
	f := k.child
	d := &driver{channel: -1, writable: true, lines: k.setup.language == languageBash}
	var theirs [5]int
	if _, err := d.plumb(k.setup.uid, k.setup.gid, &theirs); err != nil {
		return err
	}
	k.driver, f.made = d, map[int]fileID{}
	for i, fd := range []int{0, 1, 2, fdKept} {
		id, err := identify(theirs[i])
		if err != nil {
			return err
		}
		f.made[fd] = id
	}
	k.setup.forked = time.Now()
	err := unix.SetsockoptInt(d.channel, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	if err == nil {
		fds := []int{f.disk, theirs[0], theirs[1], theirs[2], theirs[3], theirs[0]}
		if d.lines {
			fds[5] = theirs[4]
		}
		err = unix.Sendmsg(f.door, []byte{'g'}, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL)
	}
	for _, fd := range theirs[1:4] {
		_ = unix.Close(fd)
	}
	if err != nil {
		return wrap(err, "hand over", "descriptors")
	}
	for _, fd := range []int{d.channel, d.pipes[0].fd, d.pipes[1].fd} {
		if err := k.watch(fd); err != nil {
			return err
		}
	}
	return nil
}

// hearDoor takes the first process's word: that its interpreter has ended, or
// why there is none.
func (k *keeper) hearDoor() {
	f := k.child
	var b [512]byte
	n, err := unix.Read(f.door, b[:])
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return
	}
	switch {
	case n == 5 && b[0] == 's' && k.driver != nil:
		// Its memory is the interpreter's, so this may be the script's word: it says
		// no more than a process could end with.
		if status := unix.WaitStatus(binary.LittleEndian.Uint32(b[1:])); status.Exited() || status.Signaled() {
			k.driver.status = status
		}
		k.unwatch(f.door) // once: who says it without end would keep us from others
	case n > 1 && b[0] == 'e' && (k.setup == nil || !k.setup.ready):
		k.fatal("fence", errors.New(strings.ToValidUTF8(string(b[1:n]), "?")))
	default:
		k.unwatch(f.door) // it has ended, which the reaper tells
	}
}

// lookAgain is how soon a first process is looked at again that has not given up
// its privileges yet: it does so while its interpreter starts.
const lookAgain = time.Millisecond

// tellTime is how long a first process has to tell of an interpreter that has let go
// of its channel, which most have because they have ended.
const tellTime = time.Second

// untold ends a sandbox whose interpreter has ended and whose first process, whose
// memory a script can write to, does not say so.
func (k *keeper) untold() {
	k.child.still = time.Time{}
	status, err := readProc(fullProc + "/" + itoa(k.driver.pid) + "/status")
	if err != nil || strings.Contains(status, "\nState:\tZ") {
		k.killAll()
	}
}

// offer answers the Setup of a forked instance once both of its processes are
// what they should be.
func (k *keeper) offer() {
	f := k.child
	f.look = time.Time{}
	status, err := readProc(fullProc + "/" + itoa(f.first) + "/status")
	if err == nil && inspectStatus(status, inspection{uid: f.user + 2}) != nil {
		f.look = time.Now().Add(lookAgain) // as long as the server waits
		return
	}
	if err == nil {
		err = onlyChild(f.first, k.driver.pid)
	}
	if err == nil {
		err = k.inspectFirst()
	}
	if err == nil {
		err = errors.Join(inspectLimits(f.first, firstLimits()), inspectLimits(k.driver.pid, k.parent.template.plan.limits))
	}
	if err == nil {
		err = k.readyChild()
	}
	if err != nil {
		k.fatal("inspection", err)
		return
	}
	k.ready()
}

// readyChild looks at the interpreter and opens its workspace.
func (k *keeper) readyChild() error {
	f := k.child
	exec := len(k.parent.template.plan.exec) > 0
	if err := inspect(k.driver.pid, inspection{fds: []int{0, 1, 2, fdKept}, made: f.made, uid: k.setup.uid, exec: exec}); err != nil {
		return err
	}
	fd, err := unix.Openat(f.disk, writable[0].name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return wrap(err, "open", protocol.Workspace)
	}
	defer func() { _ = unix.Close(fd) }()
	k.files.uploads = map[uint32]*upload{}
	k.files.root, err = os.OpenRoot(fullProc + "/self/fd/" + itoa(fd))
	return err
}

// childReaped is reached when a first process has ended, and its sandbox with it.
func (k *keeper) childReaped(pid int, status unix.WaitStatus) {
	t := k.template
	child := t.known[pid]
	if child == nil {
		return
	}
	delete(t.known, pid)
	f := child.child
	t.users = append(t.users, f.user)
	f.first = 0
	_ = unix.Close(f.pidfd)
	f.pidfd = -1
	if t.children[child.epoll] != child {
		return // it was let go before
	}
	t.stirred[child] = true
	if child.driver == nil {
		child.fatal("fork", fmt.Errorf("the first process %s", describe(status)))
		return
	}
	if f.door >= 0 {
		child.hearDoor()
	}
	if child.driver.dead {
		return
	}
	child.driver.dead = true
	if child.driver.status == 0 && status.Signaled() {
		child.driver.status = status
	}
	child.driverDied()
}
