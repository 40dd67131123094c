package guestinit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// leadsToNobody looks at a first process before it is given anything: whether there is
// a way between it and anybody else, by which it could pass on what it gets. It has none
// if it has no descriptor, is in no other directory than the root, shares no memory, is
// alone in its pid namespace, and its network namespace, which it alone is in, has no
// socket that somebody else may hold. In those of mounts and of System V it is still with
// the template, without any right to them: it makes its own when it goes on. From here
// on all that it can make has its ends inside its own sandbox.
//
// errSockets may also be said of a socket that was closed: the kernel counts one by which
// the namespace was set up until nobody can be reading of it, some moments longer.
//
// waits is false if it does not stand still yet: then nothing that was seen counts.
func (k *keeper) leadsToNobody() (waits bool, err error) {
	dir := fullProc + "/" + itoa(k.child.first)
	status, err := readProc(dir + "/status")
	if err != nil {
		return false, err
	}
	if !strings.Contains(status, "\nState:\tS") {
		return false, nil
	}
	found := k.ways(dir, status)
	// It has not run meanwhile if it does not now, and has not stopped running since.
	call, err := readProc(dir + "/syscall")
	if err != nil {
		return false, fmt.Errorf("look at what a fork waits for (kernel.yama.ptrace_scope must be less than 3): %w", err)
	}
	after, err := readProc(dir + "/status")
	if err != nil {
		return false, err
	}
	if !strings.HasPrefix(call, waitsForAdmission) || switches(after) != switches(status) {
		return false, nil
	}
	return true, found
}

var errSockets = errors.New("the first process's network has sockets")

// waitsForAdmission begins the syscall file of who waits in that call.
var waitsForAdmission = strconv.Itoa(unix.SYS_RT_SIGTIMEDWAIT) + " "

// switches are the lines of a status file that change whenever a process stops running.
func switches(status string) string {
	at := strings.Index(status, "\nvoluntary_ctxt_switches:")
	return status[max(at, 0):]
}

// ways looks for ways from a first process to somebody else.
func (k *keeper) ways(dir, status string) error {
	k.parent.clearDoor()
	first, t := k.child.first, k.parent.template
	want := map[string]string{
		"NSpid": itoa(first) + "\t1", "Threads": "1", "NoNewPrivs": "1", "Seccomp": "2", "Seccomp_filters": "1",
	}
	if err := compareStatus(status, want); err != nil {
		return fmt.Errorf("the first process: %w", err)
	}
	if err := hasChildren(first, ""); err != nil {
		return err
	}
	if err := inspectDescriptors(dir+"/fd/", inspection{}); err != nil {
		return fmt.Errorf("the first process: %w", err)
	}
	if err := atRoot(dir); err != nil {
		return err
	}
	with, err := namespacesOf(dir)
	if err != nil {
		return err
	}
	if with != t.kept {
		return errors.New("the first process has namespaces of its own before its time: a package has made them")
	}
	sockets, err := readProc(dir + "/net/sockstat")
	if err != nil {
		return err
	}
	if line, _, _ := strings.Cut(sockets, "\n"); line != "sockets: used 0" {
		return fmt.Errorf("%w (%s): a package has made them", errSockets, line)
	}
	if len(t.plan.exec) > 0 { // of a template that runs nothing foreign
		return nil
	}
	return inspectMemory(dir)
}

// atRoot checks that a process is nowhere else. Names do not tell: those of what is
// unmounted are like the root's.
func atRoot(dir string) error {
	var root, its unix.Stat_t
	if err := unix.Stat("/", &root); err != nil {
		return wrap(err, "look at", "/")
	}
	for _, link := range []string{"cwd", "root"} {
		if err := unix.Stat(dir+"/"+link, &its); err != nil {
			return wrap(err, "look at a process's", link)
		}
		if its.Dev != root.Dev || its.Ino != root.Ino {
			return fmt.Errorf("its %s is not the root: a package has gone elsewhere", link)
		}
	}
	return nil
}

// keptNamespaces are those of protocol.OwnFlags in which a process could share things
// with others.
var keptNamespaces = [2]string{"/ns/mnt", "/ns/ipc"}

func namespacesOf(dir string) (ids [2]fileID, err error) {
	for i, name := range keptNamespaces {
		var st unix.Stat_t
		if err := unix.Stat(dir+name, &st); err != nil {
			return ids, wrap(err, "look at a process's", name)
		}
		ids[i] = fileID{st.Dev, st.Ino}
	}
	return ids, nil
}

// onlyChild checks that an instance has two processes. Whatever a hostile first
// process starts beside the interpreter becomes its child sooner or later.
func onlyChild(first, interpreter int) error {
	if err := hasChildren(first, itoa(interpreter)); err != nil {
		return err
	}
	return hasChildren(interpreter, "")
}

func hasChildren(pid int, want string) error {
	children, err := readProc(fullProc + "/" + itoa(pid) + "/task/" + itoa(pid) + "/children")
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(children); got != want {
		return fmt.Errorf("process %d has the children %q instead of %q", pid, got, want)
	}
	return nil
}

// inspectFirst checks that a first process, whose memory may be the interpreter's, has
// nothing but its connection, and that both have left what is the template's.
func (k *keeper) inspectFirst() error {
	dir := fullProc + "/" + itoa(k.child.first)
	if err := inspectDescriptors(dir+"/fd/", inspection{fds: []int{fdDoor}}); err != nil {
		return fmt.Errorf("the first process: %w", err)
	}
	for _, dir := range []string{dir, fullProc + "/" + itoa(k.driver.pid)} {
		has, err := namespacesOf(dir)
		if err != nil {
			return err
		}
		for i, kept := range k.parent.template.kept {
			if has[i] == kept {
				return fmt.Errorf("a process of it has the template's %s: a package has left out the calls that make one", keptNamespaces[i])
			}
		}
	}
	return nil
}
