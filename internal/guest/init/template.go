package guestinit

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/channel"
	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// template is what the keeper of a template has beside an ordinary keeper's: it
// is the keeper of every instance that is forked from it, too. Each of these is
// a keeper of its own (fork.go) that shares this process and its loop.
//
// The template's interpreter has run foreign code, so nothing of an instance
// passes through it: it is asked to clone, and whom it has cloned connects to a
// socket of ours, is known by the process number that the kernel tells, gets its
// maps, descriptors and orders from us, and is looked at from outside before it
// is offered.
type template struct {
	setup    *protocol.Template
	plan     childPlan
	door     int              // listening; children connect to it
	children map[int]*keeper  // by their epoll
	known    map[int]*keeper  // by the number of their first process
	waiting  []*keeper        // asked for a fork that was not answered yet, oldest first
	stirred  map[*keeper]bool // have something to do in this turn of the loop
	timed    map[*keeper]bool // have a deadline
	users    []int            // free places of children's users, the one unused for longest first
	prepared bool             // forks can be asked for
	over     bool             // no more forks; the program ends with its last child
	kept     [2]fileID        // the namespaces that are the template's and no child's: see keptNamespaces
	held     budget           // what instances hold for their servers
	forgetAt time.Time        // when to wipe what children have left in our memory; zero: there is nothing
}

// Every child has three users of the template's range: 0, 1000 and nobody.
const (
	firstChildUser = 2000
	childUserStep  = 4
	maxChildren    = (1<<16 - firstChildUser) / childUserStep
)

// maxKnocking is how many connections to the door may wait to be answered.
const maxKnocking = 64

func newTemplate(s *protocol.Template) *template {
	t := &template{
		setup: s, door: -1, plan: childPlan{filter: s.Seccomp, exec: s.Exec, lines: s.Language == languageBash, limits: s.Limits},
		children: map[int]*keeper{}, known: map[int]*keeper{},
		stirred: map[*keeper]bool{}, timed: map[*keeper]bool{},
	}
	for n := range maxChildren {
		t.users = append(t.users, firstChildUser+n*childUserStep)
	}
	return t
}

// templateStages are the stages of a template's Setup from the fence on. The
// keeper itself stays outside of the filter: it finishes what children cannot.
func (k *keeper) templateStages(s *protocol.Setup) []stage {
	return []stage{
		{"door", k.openDoor},
		{"interpreter", func() error { return onOwnThread(func() error { return k.startTemplate(s) }) }},
		{"privileges", func() error { return dropPrivileges(templateCapabilities) }},
		{"threads", startThreads},
		{"reaper", k.startReaper},
	}
}

// templateCapabilities are what a template's keeper needs in its own user
// namespace for its children's: their maps (SETUID, SETGID, SYS_ADMIN), looking
// at them (SYS_PTRACE), their files and their end.
const templateCapabilities = keptCapabilities | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SYS_PTRACE

// onOwnThread runs f on a thread that ends with it, so that what f does to its
// thread (filter, bounding set) reaches only what f starts.
func onOwnThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends
		done <- f()
	}()
	return <-done
}

func (k *keeper) startTemplate(s *protocol.Setup) error {
	if err := fence(s.Seccomp, 0); err != nil {
		return err
	}
	return k.startDriver(s)
}

// openDoor makes the socket that children connect to.
func (k *keeper) openDoor() error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	k.template.door = fd
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: doorPath}); err != nil {
		return wrap(err, "bind", doorPath)
	}
	if err := errors.Join(unix.Chmod(doorPath, 0o666), unix.Listen(fd, maxKnocking)); err != nil {
		return wrap(err, "open", doorPath)
	}
	return k.watch(fd)
}

// handleTemplate reacts to an event that only a template's keeper has. It
// reports whether it was one.
func (k *keeper) handleTemplate(fd int) bool {
	t := k.template
	if child := t.children[fd]; child != nil {
		t.stirred[child] = true
		return true
	}
	if fd == t.door {
		k.answerDoor()
		return true
	}
	return false
}

// earliest is the first deadline of a child, or first if that is earlier.
func (t *template) earliest(first time.Time) time.Time {
	if len(t.stirred) > 0 {
		return time.Unix(1, 0)
	}
	if !t.forgetAt.IsZero() && (first.IsZero() || t.forgetAt.Before(first)) {
		first = t.forgetAt
	}
	for child := range t.timed {
		for _, at := range child.deadlines() {
			if !at.IsZero() && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
	}
	return first
}

// stir lets the children that have something to do have their turn.
func (k *keeper) stir() {
	var events [8]unix.EpollEvent
	t := k.template
	for child := range t.timed {
		if child.timeout() == 0 {
			t.stirred[child] = true
		}
	}
	for len(t.stirred) > 0 {
		for child := range t.stirred {
			delete(t.stirred, child)
			if err := child.turn(events[:], 0); err != nil {
				child.done = true
			}
			child.flush()
			if child.done {
				k.bury(child)
				continue
			}
			if child.timeout() < 0 {
				delete(t.timed, child)
			} else {
				t.timed[child] = true
			}
		}
	}
	if t.over && len(t.children) == 0 {
		k.done = true
	}
}

// endTemplate is reached when the template is no longer wanted, or has died: its
// instances live on.
func (k *keeper) endTemplate() {
	t := k.template
	if k.lingerAt, k.exitAt = (time.Time{}), (time.Time{}); t.over {
		return
	}
	t.over = true
	if !k.driver.dead {
		_ = unix.Kill(k.driver.pid, unix.SIGKILL)
	}
	for _, child := range t.waiting {
		child.fatal("fork", errors.New("the template has ended"))
		t.stirred[child] = true
	}
	t.waiting = nil
}

// prepareTemplate is reached when the template's driver has spoken: it imports
// what it is to import.
func (k *keeper) prepareTemplate() {
	t := k.template
	frame := channel.Template{Preload: t.setup.Preload, Exec: t.setup.Exec, Parts: t.plan.parts(), Code: childCode(), Sharing: sharing()}
	k.driver.out = frame.Append(k.driver.out)
}

// templateHeard reacts to a word that only a template's driver says.
func (k *keeper) templateHeard(kind byte, payload []byte) error {
	t := k.template
	switch {
	case kind == channel.TypePrepared && !t.prepared && k.setup.spoke:
		refusal, err := channel.ParsePrepared(payload)
		if err != nil {
			return err
		}
		if refusal == "" {
			err = k.seal()
		} else {
			err = errors.New(refusal)
		}
		if err != nil {
			k.fatal("template", err)
			return nil
		}
		t.prepared = true
		scrubStack()
		k.ready()
	case kind == channel.TypeForked && len(t.waiting) > 0:
		pid, err := channel.ParseForked(payload)
		if err != nil {
			return err
		}
		child := t.waiting[0]
		t.waiting[0], t.waiting = nil, t.waiting[1:] // nothing may keep it longer than it lives
		k.forked(child, pid)
	default:
		return fmt.Errorf("%w: type %d out of turn", channel.ErrGarbage, kind)
	}
	return nil
}

// seal takes from the template what it needed only to import, the writable file
// system and sight of any process, and looks that it holds nothing of these: it
// is alone, its directory is the root, and all its descriptors are known.
func (k *keeper) seal() error {
	// What is unmounted here no child has to copy, either.
	own := []string{"/proc", "/dev/pts"}
	for _, w := range writable {
		own = append(own, w.target)
	}
	for _, target := range own {
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
			return wrap(err, "unmount", target)
		}
	}
	return stopped(k.driver.pid, k.inspectTemplate)
}

// stopped does something while a process is stopped, and so cannot hand to
// another what is looked for in itself.
func stopped(pid int, do func() error) error {
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		return wrap(err, "stop process", itoa(pid))
	}
	defer func() { _ = unix.Kill(pid, unix.SIGCONT) }()
	for deadline := time.Now().Add(stopPatience); ; time.Sleep(100 * time.Microsecond) {
		status, err := os.ReadFile(fullProc + "/" + itoa(pid) + "/status")
		if err != nil {
			return err
		}
		if strings.Contains(string(status), "\nState:\tT") {
			return do()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d does not stop", pid)
		}
	}
}

// stopPatience is how long a stop may take: as long as a system call does.
const stopPatience = 2 * time.Second

// inspectTemplate looks at the template from outside.
func (k *keeper) inspectTemplate() error {
	if err := k.alone(); err != nil {
		return err
	}
	if err := atRoot(fullProc + "/" + itoa(k.driver.pid)); err != nil {
		return err
	}
	kept, err := namespacesOf(fullProc + "/self")
	if err != nil {
		return err
	}
	k.template.kept = kept
	if err := inspect(k.driver.pid, inspection{fds: []int{0, 1, 2, fdKept}}); err != nil {
		return err
	}
	return inspectMemory(fullProc + "/" + itoa(k.driver.pid))
}

// alone reports an error if anything runs beside the template.
func (k *keeper) alone() error {
	entries, err := os.ReadDir(fullProc)
	if err != nil {
		return err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || pid == k.driver.pid {
			continue
		}
		status, err := os.ReadFile(fullProc + "/" + e.Name() + "/status")
		if err != nil || strings.Contains(string(status), "\nState:\tZ") {
			continue // it has ended
		}
		return fmt.Errorf("process %d runs: a package has started it", pid)
	}
	return nil
}
