package guestinit

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// setupState is what is left of a Setup once it is done.
type setupState struct {
	language string
	uid, gid int
	started  time.Time // Setup came
	forked   time.Time // the interpreter was started
	// processes is the limit of the interpreter's user where no cgroup has it; 0
	// is none.
	processes uint64
	spoke     bool   // its driver has spoken
	version   string // of the interpreter, as it says
	ready     bool   // the Setup is answered
}

// stage is a step of the way from a Setup frame to a fenced interpreter.
type stage struct {
	name string
	do   func() error
}

// setUp builds the sandbox and starts the interpreter. The answer is sent when
// its driver speaks.
func (k *keeper) setUp(s protocol.Setup) bool {
	if k.setup != nil {
		return false
	}
	k.setup = &setupState{language: s.Language, uid: s.UID, gid: s.GID, started: time.Now()}
	k.linger = time.Duration(s.LingerMS) * time.Millisecond
	disk := -1
	if s.DiskFD {
		if len(k.conn.rights) == 0 {
			k.fatal("root", errors.New("the setup says that a mount was passed, but none came with the frame"))
			return true
		}
		disk, k.conn.rights = k.conn.rights[0], k.conn.rights[1:]
	}
	r := rootBuilder{setup: &s, disk: disk, mounts: k.conn.rights}
	k.conn.rights = nil
	stages := []stage{
		{"cgroup namespace", func() error { return unix.Unshare(unix.CLONE_NEWCGROUP) }},
		{"loopback", loopbackUp},
		{"hostname", func() error { return unix.Sethostname([]byte(s.Hostname)) }},
		{"root", r.build},
	}
	if k.contained {
		stages = []stage{{"root", func() error { return k.completeRoot(&s) }}}
	}
	if s.Template != nil {
		k.template = newTemplate(s.Template)
		r.plan = &k.template.plan
		stages = append(stages, k.templateStages(&s)...)
	} else {
		stages = append(stages, k.instanceStages(&s)...)
	}
	for _, st := range stages {
		if err := st.do(); err != nil {
			k.fatal(st.name, err)
			return true
		}
	}
	return true
}

// instanceStages are the stages of an instance's Setup once it has its root.
func (k *keeper) instanceStages(s *protocol.Setup) []stage {
	return []stage{
		{"files", k.files.open},
		{"fence", func() error { return fence(s.Seccomp, unix.SECCOMP_FILTER_FLAG_TSYNC) }},
		{"interpreter", func() error { return k.startDriver(s) }},
		{"privileges", func() error { return dropPrivileges(keptCapabilities) }},
		{"threads", startThreads},
		{"reaper", k.startReaper},
	}
}

// driverReady is reached when the driver has spoken.
func (k *keeper) driverReady(version string) {
	k.setup.spoke, k.setup.version = true, version
	if k.template != nil {
		k.prepareTemplate()
		return
	}
	if k.child != nil {
		k.offer()
		return
	}
	k.ready()
}

// ready answers the Setup.
func (k *keeper) ready() {
	s := k.setup
	s.ready = true
	k.send(protocol.TypeReady, &protocol.Ready{Version: s.version, TimingsUS: map[string]int64{
		"fence":       s.forked.Sub(s.started).Microseconds(),
		"interpreter": time.Since(s.forked).Microseconds(),
	}})
}

// loopbackUp brings up the only network interface.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return os.NewSyscallError("ioctl SIOCSIFFLAGS", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr))
}

func itoa(n int) string { return strconv.Itoa(n) }

// wrap says what was being done to what when a system call failed.
func wrap(err error, doing, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", doing, what, err)
}
