package netslot

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	mdnetlink "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A router outlives its process where a mount pins its namespace: what sandboxes
// have open stays open, under rules that are in force at every moment. Beside the
// pin lies what the next process cannot ask the kernel for: the form of the rules,
// and which names led each sandbox where.

// remains is the directory that a herd leaves for its next process, on a file
// system that a reboot empties, as it does the namespace.
type remains struct{ dir string }

const (
	pinName  = "router"
	formName = "form"
	useName  = "slot-" // and its number
)

// leave pins a router.
func (k remains) leave(space *namespace, form string) error {
	err := os.MkdirAll(k.dir, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(k.dir, formName), []byte(form), 0o600)
	}
	pin := filepath.Join(k.dir, pinName)
	if err == nil {
		err = os.WriteFile(pin, nil, 0o600)
	}
	if err == nil {
		err = unix.Mount(fmt.Sprintf("/proc/self/fd/%d", space.fd()), pin, "", unix.MS_BIND, "")
	}
	if err != nil {
		return fmt.Errorf("pin the router: %w", err)
	}
	return nil
}

// router opens the router that was left; nil is none.
func (k remains) router() (*namespace, error) {
	pin := filepath.Join(k.dir, pinName)
	var at unix.Statfs_t
	if err := unix.Statfs(pin, &at); errors.Is(err, os.ErrNotExist) || err == nil && at.Type != unix.NSFS_MAGIC {
		return nil, nil //nolint:nilnil // there is none
	} else if err != nil {
		return nil, fmt.Errorf("look for an earlier router: %w", err)
	}
	return openNamespace(pin)
}

// form is that of the rules which were left, "" when it is not known.
func (k remains) form() string {
	b, err := os.ReadFile(filepath.Join(k.dir, formName))
	if err != nil {
		return ""
	}
	return string(b)
}

// remove lets go of what was left. Links of the router go at once, whoever still
// has its namespace open: their other ends are in sandboxes.
func (k remains) remove() error {
	space, err := k.router()
	if err != nil {
		return err
	}
	if space != nil {
		err = unlink(space)
		space.close()
	}
	pin := filepath.Join(k.dir, pinName)
	if err := unix.Unmount(pin, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("let go of the router: %w", err)
	}
	if gone := os.RemoveAll(k.dir); gone != nil {
		err = errors.Join(err, fmt.Errorf("remove what was left of the router: %w", gone))
	}
	return err
}

// unlink removes the slots' links of a router.
func unlink(space *namespace) error {
	h, err := space.links()
	if err != nil {
		return err
	}
	defer h.Close()
	list, err := h.LinkList()
	if err != nil {
		return fmt.Errorf("list the links of an earlier router: %w", err)
	}
	var errs []error
	for _, l := range list {
		if _, ok := slotNumber(l.Attrs().Name); ok {
			errs = append(errs, removeLink(h, l.Attrs().Name))
		}
	}
	return errors.Join(errs...)
}

// slotNumber reads the name of a slot's link.
func slotNumber(link string) (int, bool) {
	digits, ok := strings.CutPrefix(link, slotPrefix)
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n >= 0 && n < maxSlots && digits == strconv.Itoa(n)
}

// use is what is written down of a slot in use.
type use struct {
	Sandbox string                  `json:"sandbox"`
	Names   map[string][]netip.Addr `json:"names,omitempty"` // that were asked for, and where they led
}

func (k remains) usePath(number int) string {
	return filepath.Join(k.dir, useName+strconv.Itoa(number))
}

// note writes down where names led a sandbox. It comes before the kernel is told:
// what is written says too much, never too little.
func (k remains) note(number int, sandbox string, g grants) error {
	u := use{Sandbox: sandbox, Names: map[string][]netip.Addr{}}
	for a, known := range g.to {
		for name := range known.names {
			u.Names[name] = append(u.Names[name], a)
		}
	}
	b, err := json.Marshal(u)
	if err == nil {
		path := k.usePath(number)
		tmp := path + ".new"
		if err = os.WriteFile(tmp, b, 0o600); err == nil {
			err = os.Rename(tmp, path)
		}
	}
	if err != nil {
		return fmt.Errorf("write down where a name led: %w", err)
	}
	return nil
}

// forget removes what was noted of a slot.
func (k remains) forget(number int) error {
	if err := os.Remove(k.usePath(number)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget where names led: %w", err)
	}
	return nil
}

// grants reads where names led a sandbox. What cannot be read is not known, and is
// not reached any more.
func (k remains) grants(number int, sandbox string) grants {
	g := newGrants()
	b, err := os.ReadFile(k.usePath(number))
	if err != nil {
		return g
	}
	u := use{}
	if json.Unmarshal(b, &u) != nil || u.Sandbox != sandbox {
		return g
	}
	for name, list := range u.Names {
		for _, a := range list {
			if g.to[a] == nil {
				g.to[a] = &grant{names: map[string]bool{}}
			}
			g.to[a].names[name] = true
		}
	}
	return g
}

// errFormed ends the writing of rules that are only looked at.
var errFormed = errors.New("the rules were only looked at")

// form is a digest of all rules that we would write: of a router whose rules have
// another, by an older program or with other settings, nothing is taken over.
func form(p plan, limits bounds) (string, error) {
	sum := sha256.New()
	router, host := newRouterRules(nil), newHostRules("form")
	router.read, host.read = reader(sum), reader(sum)
	for _, err := range []error{router.install(p), newSlotRules(router, 0).install(limits), host.install(p.uplink(0))} {
		if !errors.Is(err, errFormed) {
			return "", fmt.Errorf("look at the rules that are to be: %w", err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// reader takes rules instead of the kernel.
func reader(sum hash.Hash) func([]mdnetlink.Message) ([]mdnetlink.Message, error) {
	return func(list []mdnetlink.Message) ([]mdnetlink.Message, error) {
		for _, m := range list {
			head := binary.BigEndian.AppendUint16(nil, uint16(m.Header.Type))
			head = binary.BigEndian.AppendUint32(head, uint32(len(m.Data)))
			_, _ = sum.Write(head) // never fails
			_, _ = sum.Write(m.Data)
		}
		return nil, errFormed
	}
}
