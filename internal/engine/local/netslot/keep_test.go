package netslot

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/remuda"
)

// A first server is a process of its own, so that it can be killed, and so are the
// sandboxes, which outlive it.

// What is open stays open while no server is there, under rules that hold; the next
// one takes it over, and what it does not want is gone.
func TestKeptOverAKill(t *testing.T) {
	f := newFar(t)
	port := echo(t, f.space)
	there(t, f.addr4(200), port)
	l := newLife(t, 3, heldOrder{CIDRs: []string{f.addr4(9).String() + "/32", f.addr4(20).String() + "/32"}})
	stays, narrowed, unwanted := l.boxes["ins_0"], l.boxes["ins_1"], l.boxes["ins_2"]
	open, cut, kept, gone := stays.open(f.addr4(9), port), narrowed.open(f.addr4(9), port), narrowed.open(f.addr4(20), port), unwanted.open(f.addr4(9), port)
	l.kill()
	must(t, say(open, patience)) // nobody is there
	stays.reaches(f.addr4(20), port)
	stays.misses(port, f.addr4(200))

	s := l.second()
	must(t, s.Recover(context.Background(), map[remuda.InstanceID]int{"ins_0": l.order.Sandboxes["ins_0"], "ins_1": l.order.Sandboxes["ins_1"]}))
	must(t, say(open, patience))
	stays.misses(port, f.addr4(200))
	if err := say(gone, brief); err == nil {
		t.Error("a sandbox that nobody wants is still connected")
	}
	all := list(f.addr4(9).String()+"/32", f.addr4(20).String()+"/32")
	a := l.adopt(s, "ins_0", all)
	b := l.adopt(s, "ins_1", list(f.addr4(20).String()+"/32"))
	if err := say(cut, brief); err == nil {
		t.Error("a connection that is not listed any more was not cut")
	}
	b.misses(port, f.addr4(9))
	must(t, say(open, patience))
	must(t, say(kept, patience))

	fresh := newBox(t, s, all)
	fresh.reaches(f.addr4(9), port)
	if n := fresh.slot.number; n == a.slot.number || n == b.slot.number {
		t.Errorf("slot %d was given away twice", n)
	}
	must(t, a.Set(s.Compile(remuda.Egress{})))
	if err := say(open, brief); err == nil {
		t.Error("a sandbox that was taken over cannot be cut")
	}
	must(t, a.Release(context.Background()))
	must(t, b.Release(context.Background()))
	again := newBox(t, s, list(f.addr4(20).String()+"/32"))
	again.reaches(f.addr4(20), port)
	again.misses(port, f.addr4(9))
}

// Where a name led stays reached as long as the name is listed; what cannot be
// known any more is not reached.
func TestKeptNames(t *testing.T) {
	f := newFar(t)
	port := echo(t, f.space)
	z, at := newZone(t, f)
	z.set("one.example.", "300 IN A "+f.addr4(30).String())
	z.set("two.example.", "300 IN A "+f.addr4(31).String())
	l := newLife(t, 2, heldOrder{Names: []string{"one.example", "two.example"}, DNS: at.String()})
	slots := l.second() // only for its plan, until the first is dead
	asks := func(id remuda.InstanceID, name string) {
		t.Helper()
		b := &box{t, l.boxes[id].space, &Attached{slots: slots}}
		reply, err := b.ask("udp", name, dns.TypeA)
		must(t, err)
		if len(reply.Answer) != 1 {
			t.Fatalf("%s is answered with %v", name, reply)
		}
	}
	for _, id := range []remuda.InstanceID{"ins_0", "ins_1"} {
		asks(id, "one.example")
		asks(id, "two.example")
	}
	one, two := l.boxes["ins_0"].open(f.addr4(30), port), l.boxes["ins_0"].open(f.addr4(31), port)
	unknown := l.boxes["ins_1"].open(f.addr4(30), port)
	l.kill()
	must(t, os.WriteFile(slots.left.usePath(slotOf(t, slots, l, "ins_1")), []byte("{"), 0o600))
	must(t, slots.Recover(context.Background(), l.order.Sandboxes))
	must(t, say(one, patience))
	a := l.adopt(slots, "ins_0", named("one.example"))
	b := l.adopt(slots, "ins_1", named("one.example"))
	must(t, say(one, patience))
	for what, c := range map[string]net.Conn{"of a name that is not listed any more": two, "of which nothing is known": unknown} {
		if err := say(c, brief); err == nil {
			t.Errorf("a connection %s was not cut", what)
		}
	}
	a.looks("one.example", dns.TypeA, f.addr4(30).String())
	a.misses(port, f.addr4(31))
	b.looks("one.example", dns.TypeA, f.addr4(30).String()) // and it is learned anew
	b.reaches(f.addr4(30), port)
	must(t, a.Set(slots.Compile(remuda.Egress{})))
	if err := say(one, brief); err == nil {
		t.Error("a name's connection that was taken over cannot be cut")
	}
}

// slotOf is the number of a sandbox's slot.
func slotOf(t *testing.T, s *Slots, l *life, id remuda.InstanceID) int {
	t.Helper()
	h, err := l.boxes[id].space.links()
	must(t, err)
	defer h.Close()
	list, err := addressesOf(h)
	must(t, err)
	for n := range 16 {
		if v4, _ := s.plan.slot(n); list[v4] {
			return n
		}
	}
	t.Fatalf("%s has the addresses %v", id, list)
	return 0
}

// Rules of another form are not taken over: sandboxes are connected anew.
func TestKeptInAnotherForm(t *testing.T) {
	f := newFar(t)
	port := echo(t, f.space)
	l := newLife(t, 1, heldOrder{CIDRs: []string{f.v4.String()}})
	open := l.boxes["ins_0"].open(f.addr4(9), port)
	l.kill()
	s := l.second()
	s.opts.Settings.Connections = 7
	must(t, s.Recover(context.Background(), l.order.Sandboxes))
	if err := say(open, brief); err == nil {
		t.Error("a connection under the old rules is still open")
	}
	b := l.adopt(s, "ins_0", list(f.addr4(9).String()+"/32"))
	b.reaches(f.addr4(9), port)
	b.misses(port, f.addr4(20))
}

// A router that somebody has broken, a sandbox that has ended or that was never
// connected: what can be is connected anew, the rest is gone.
func TestKeptInPieces(t *testing.T) {
	f := newFar(t)
	port := echo(t, f.space)
	for name, harm := range map[string]func(l *life, s *Slots){
		"no pin":           func(_ *life, s *Slots) { must(t, unix.Unmount(filepath.Join(s.left.dir, pinName), unix.MNT_DETACH)) },
		"nothing was left": func(_ *life, s *Slots) { must(t, s.left.remove()) },
		"machine's rules":  func(_ *life, s *Slots) { must(t, newHostRules(heldHerd).remove()) },
		"router's rules": func(_ *life, s *Slots) {
			space, err := s.left.router()
			must(t, err)
			defer space.close()
			must(t, newRouterRules(space).remove())
		},
		"slot's maps": func(l *life, s *Slots) {
			space, err := s.left.router()
			must(t, err)
			defer space.close()
			rules := newRouterRules(space)
			must(t, rules.change(func(b *batch) { b.flush(rules.outbound) }))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t, 1, heldOrder{CIDRs: []string{f.v4.String()}})
			open := l.boxes["ins_0"].open(f.addr4(9), port)
			l.kill()
			s := l.second()
			harm(l, s)
			must(t, s.Recover(context.Background(), map[remuda.InstanceID]int{"ins_0": l.order.Sandboxes["ins_0"], "ins_gone": 1 << 30}))
			b := l.adopt(s, "ins_0", list(f.addr4(9).String()+"/32"))
			b.reaches(f.addr4(9), port)
			b.misses(port, f.addr4(20))
			_ = say(open, brief) // it may live on or not
			must(t, s.Abandon(context.Background(), "ins_gone"))
			none, err := s.Adopt(context.Background(), "ins_other", l.order.Sandboxes["ins_0"], egress.Compiled{})
			if none != nil || err != nil {
				t.Errorf("a sandbox that reaches nothing has %v, %v", none, err)
			}
		})
	}
}

// An ordinary end leaves what was detached, and nothing else; the next server takes
// it over, or removes it.
func TestDetached(t *testing.T) {
	f := newFar(t)
	port := echo(t, f.space)
	for _, wanted := range []bool{true, false} {
		t.Run(fmt.Sprintf("wanted %t", wanted), func(t *testing.T) {
			l := newLife(t, 1, heldOrder{CIDRs: []string{f.v4.String()}, Detach: true})
			open := l.boxes["ins_0"].open(f.addr4(9), port)
			must(t, l.input.Close())
			must(t, l.first.Wait())
			must(t, say(open, patience))
			l.boxes["ins_0"].misses(port, netip.MustParseAddr("192.0.2.1"))
			s := l.second()
			if found := s.Check(context.Background()); !found.OK { // it disturbs nothing
				t.Fatalf("%+v", found)
			}
			must(t, say(open, patience))
			if !wanted {
				must(t, s.Recover(context.Background(), nil))
				if err := say(open, brief); err == nil {
					t.Error("what nobody wants is still connected")
				}
				return
			}
			must(t, s.Recover(context.Background(), l.order.Sandboxes))
			must(t, say(open, patience))
			must(t, s.Abandon(context.Background(), "ins_0"))
			if err := say(open, brief); err == nil {
				t.Error("what was given up is still connected")
			}
		})
	}
}

// The form of rules is the same each time, and another with other rules.
func TestForm(t *testing.T) {
	seen := map[string]string{}
	for name, s := range map[string]egress.Settings{
		"as it is": settings(), "connections": {Range: settings().Range, Range6: settings().Range6, Connections: 7, MegabitsPerSecond: settings().MegabitsPerSecond},
		"bytes": {Range: settings().Range, Range6: settings().Range6, Connections: settings().Connections, MegabitsPerSecond: 7},
		"range": {Range: netip.MustParsePrefix("198.18.0.0/16"), Range6: settings().Range6, Connections: settings().Connections, MegabitsPerSecond: settings().MegabitsPerSecond},
	} {
		slots, err := New(Options{Herd: "form", Settings: s})
		must(t, err)
		first, err := form(slots.plan, slots.bounds())
		must(t, err)
		second, err := form(slots.plan, slots.bounds())
		must(t, err)
		if first != second || len(first) != 64 {
			t.Errorf("%s: the form is %q and then %q", name, first, second)
		}
		if other, ok := seen[first]; ok {
			t.Errorf("%s has the form of %s", name, other)
		}
		seen[first] = name
	}
	for link, want := range map[string]bool{"s0": true, "s16383": true, "s16384": false, "s01": false, "s": false, "s-1": false, "up0": false, "s1x": false} {
		if _, ok := slotNumber(link); ok != want {
			t.Errorf("%s is a slot's: %t", link, ok)
		}
	}
	if strings.Contains(slotPrefix, "-") {
		t.Error("chains of slots cannot be told apart")
	}
}
