package netslot

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Recover takes over what an earlier process of the herd left on the machine for
// the sandboxes of keep, by the number of a process in each, and removes the rest.
// Their rules stay in force all the while; Adopt says what they may reach from now
// on. Call it before the first Attach.
func (s *Slots) Recover(_ context.Context, keep map[remuda.InstanceID]int) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("speak to the machine's network: %w", err)
	}
	defer h.Close()
	trial, own := newHostRules(trialHerd(s.opts.Herd)), newHostRules(s.opts.Herd)
	there, err := own.exists()
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL) {
		return nil // a kernel without nftables has nothing to recover
	}
	if err != nil {
		return err
	}
	if err := s.withdraw(h, trial, false); err != nil {
		return err
	}
	if len(keep) > 0 && there {
		taken, err := s.takeOver(keep)
		if taken {
			return nil
		}
		if err != nil { // they are connected anew when they are adopted
			s.log.Warn("the network that an earlier server left cannot be used; what its sandboxes had open is cut", "error", err)
		}
	}
	if err := s.left.remove(); err != nil {
		return err
	}
	return s.withdraw(h, own, there)
}

// withdraw removes a herd from the machine, if anything of it is there.
func (s *Slots) withdraw(h *netlink.Handle, m *hostRules, there bool) error {
	herd := strings.TrimPrefix(m.link, linkPrefix)
	if err := removeLink(h, probePrefix+herd); err != nil {
		return err
	}
	if _, err := h.LinkByName(m.link); err != nil && !there {
		there, err = m.exists()
		if err != nil || !there {
			return err
		}
	}
	return s.record.locked(func() error { return disconnect(h, m, s.record) })
}

// takeOver opens the router that was left, with the slots of keep, and clears all
// others. It reports whether there was one, and anything to keep of it.
func (s *Slots) takeOver(keep map[remuda.InstanceID]int) (taken bool, err error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	wanted, err := form(s.plan, s.bounds())
	if err != nil {
		return false, err
	}
	r, err := reopen(s.opts.Herd, s.plan, s.record, s.left, wanted)
	if err != nil {
		return false, err
	}
	kept := map[int]*Attached{}
	defer func() {
		if taken {
			return
		}
		for _, a := range kept {
			a.inside.close()
		}
		r.letGo()
	}()
	if err := s.recognize(r, keep, kept); err != nil || len(kept) == 0 {
		return false, err
	}
	made, free, err := s.tidy(r, kept)
	if err != nil {
		return false, err
	}
	d, err := startResolver(r.space, s.plan, s.opts.Settings.UpstreamDNS, s.log)
	if err != nil {
		return false, fmt.Errorf("start the resolver: %w", err)
	}
	s.mu.Lock()
	for _, a := range kept {
		a.names = d
		s.kept[remuda.InstanceID(a.name)], s.inUse[a] = a, true
		s.claims++
	}
	s.mu.Unlock()
	s.begin(r, d, made, free)
	return true, nil
}

// recognize finds the slots of sandboxes that are whole, by what the kernel says of
// the links: what is inside a sandbox is not asked.
func (s *Slots) recognize(r *router, keep map[remuda.InstanceID]int, kept map[int]*Attached) error {
	list, err := r.links.LinkList()
	if err != nil {
		return fmt.Errorf("list the links of an earlier router: %w", err)
	}
	mapped, err := r.mapped()
	if err != nil {
		return err
	}
	numbers := map[int]int{} // of slots, by the kernel's number of the sandbox's namespace
	for _, l := range list {
		if n, ok := slotNumber(l.Attrs().Name); ok && l.Attrs().NetNsID >= 0 && mapped[l.Attrs().Name] == len(mapsOf(r.rules)) {
			numbers[l.Attrs().NetNsID] = n
		}
	}
	for id, pid := range keep {
		inside, err := openNamespace(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			continue // it has ended
		}
		space, err := r.links.GetNetNsIdByFd(inside.fd())
		number, ok := numbers[space]
		if err != nil || space < 0 || !ok {
			inside.close()
			continue // it was not connected, or not entirely
		}
		kept[number] = &Attached{slots: s, router: r, slot: s.slotAt(r, number), inside: inside, name: string(id), granted: newGrants()}
	}
	return nil
}

// mapsOf are what a slot that is connected is on.
func mapsOf(r *routerRules) []*nftables.Set {
	return []*nftables.Set{r.outbound, r.inbound, r.owners[ip4], r.owners[ip6]}
}

// mapped counts on how many of these each link is.
func (r *router) mapped() (map[string]int, error) {
	found := map[string]int{}
	for _, m := range mapsOf(r.rules) {
		list, err := r.rules.elements(m)
		if err != nil {
			return nil, err
		}
		for _, element := range list {
			name, _, _ := strings.Cut(string(element.Key[:min(len(element.Key), unix.IFNAMSIZ)]), "\x00")
			found[name]++
		}
	}
	return found, nil
}

// tidy clears the slots that nobody keeps. Their numbers are used again.
func (s *Slots) tidy(r *router, kept map[int]*Attached) (made int, free []*slot, err error) {
	numbers, err := r.slots()
	if err != nil {
		return 0, nil, err
	}
	for _, number := range numbers {
		made = max(made, number+1)
		if kept[number] != nil {
			continue
		}
		a := &Attached{slots: s, router: r, slot: s.slotAt(r, number)}
		if err := a.wipe(); err != nil {
			s.log.Error("a network slot that an earlier server left is not used again", "slot", number, "error", err)
			continue
		}
		free = append(free, a.slot)
	}
	return made, free, nil
}

// slots lists the numbers of a router's slots.
func (r *router) slots() ([]int, error) {
	c, err := r.rules.connect()
	if err != nil {
		return nil, err
	}
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list the chains of an earlier router: %w", err)
	}
	var list []int
	for _, chain := range chains {
		name, ok := strings.CutSuffix(chain.Name, "-out")
		if n, is := slotNumber(name); ok && is {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list, nil
}

// Adopt returns the connection of a sandbox that Recover was to keep, once it
// reaches what policy lists and nothing else: names that it has asked for go on to
// lead where they led, if they are still listed. A sandbox that had none is
// connected if the policy lists anything; nil is none.
func (s *Slots) Adopt(ctx context.Context, id remuda.InstanceID, pid int, policy egress.Compiled) (*Attached, error) {
	s.mu.Lock()
	a := s.kept[id]
	delete(s.kept, id)
	s.mu.Unlock()
	if a == nil {
		return s.attachAgain(ctx, id, pid, policy)
	}
	if err := a.adopt(policy); err != nil {
		return nil, errors.Join(fmt.Errorf("take over the connection of a sandbox: %w", err), a.Release(ctx))
	}
	return a, nil
}

// attachAgain connects a sandbox whose earlier connection, if it had one, is gone.
func (s *Slots) attachAgain(ctx context.Context, id remuda.InstanceID, pid int, policy egress.Compiled) (*Attached, error) {
	if policy.None() {
		return nil, nil //nolint:nilnil // as Adopt says
	}
	inside, err := openNamespace(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, err
	}
	h, err := inside.links()
	if err == nil {
		err = removeLink(h, insideName) // the kernel takes its time with what has no other end any more
		h.Close()
	}
	inside.close()
	if err != nil {
		return nil, err
	}
	return s.Attach(ctx, pid, string(id), policy)
}

// adopt puts a policy in force on a slot that was in use all the while.
func (a *Attached) adopt(policy egress.Compiled) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.granted = a.slots.left.grants(a.slot.number, a.name)
	admitted, err := a.slot.rules.admitted()
	if err != nil {
		return err
	}
	// Nobody knows what led to these.
	gone := slices.DeleteFunc(admitted, a.granted.has)
	gone = append(gone, a.granted.lose(policy)...)
	if err := a.slot.rules.narrow(policy, gone); err != nil {
		return err
	}
	a.policy = policy
	if err := a.cut(func(to netip.Addr) bool { return !policy.Lists(to) && !a.granted.has(to) }); err != nil {
		return err
	}
	a.names.add(a)
	return nil
}

// Abandon releases a connection that was kept and is not adopted after all.
func (s *Slots) Abandon(ctx context.Context, id remuda.InstanceID) error {
	s.mu.Lock()
	a := s.kept[id]
	delete(s.kept, id)
	s.mu.Unlock()
	if a == nil {
		return nil
	}
	return a.Release(ctx)
}

// Detach leaves the connection as it is to the next process, also when the slots
// are closed. Every other call fails afterwards.
func (a *Attached) Detach() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.released {
		return
	}
	a.released = true
	s := a.slots
	s.mu.Lock()
	delete(s.inUse, a)
	s.detached = true
	s.mu.Unlock()
	a.names.remove(a)
	a.inside.close()
	s.unclaim()
}

// reopen takes over the router that an earlier process has left.
func reopen(herd string, p plan, record forwarding, left remains, wanted string) (_ *router, err error) {
	r := &router{plan: p, machine: newHostRules(herd), record: record}
	defer func() {
		if err != nil {
			r.letGo()
		}
	}()
	if left.form() != wanted {
		return nil, errors.New("its rules have another form: they are of an older program, or of other settings")
	}
	if r.space, err = left.router(); err != nil {
		return nil, err
	}
	if r.space == nil {
		return nil, errors.New("its router is gone")
	}
	if r.host, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("speak to the machine's network: %w", err)
	}
	if r.links, err = r.space.links(); err != nil {
		return nil, err
	}
	r.rules = newRouterRules(r.space)
	whole, err := r.whole()
	if err != nil {
		return nil, err
	}
	if !whole {
		return nil, errors.New("somebody has removed a part of it")
	}
	return r, r.refresh()
}

// whole reports whether nothing of a router is missing.
func (r *router) whole() (bool, error) {
	for _, t := range []table{r.rules.table, r.machine.table} {
		if there, err := t.exists(); err != nil || !there {
			return false, err
		}
	}
	for _, end := range []struct {
		h    *netlink.Handle
		name string
	}{{r.host, r.machine.link}, {r.links, uplinkName}} {
		l, err := end.h.LinkByName(end.name)
		if isUnknownLink(err) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("find the link %s: %w", end.name, err)
		}
		if l.Attrs().Flags&unix.IFF_UP == 0 {
			return false, nil
		}
	}
	return true, nil
}

// letGo closes what the process has of a router and leaves it as it is.
func (r *router) letGo() {
	for _, h := range []*netlink.Handle{r.host, r.links} {
		if h != nil {
			h.Close()
		}
	}
	if r.space != nil {
		r.space.close()
	}
}
