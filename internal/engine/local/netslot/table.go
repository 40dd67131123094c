package netslot

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/google/nftables"
	mdnetlink "github.com/mdlayher/netlink"
	"go4.org/netipx"
	"golang.org/x/sys/unix"
)

// table is a table of rules in one namespace.
type table struct {
	where *namespace // nil is the machine's
	name  string
	// read gets what is written, instead of the kernel; nil is the kernel.
	read func([]mdnetlink.Message) ([]mdnetlink.Message, error)
}

func (t table) inner() *nftables.Table {
	return &nftables.Table{Name: t.name, Family: nftables.TableFamilyINet}
}

// hold says whose sets these are, also where they were written by an earlier
// process.
func (t table) hold(sets ...*nftables.Set) {
	for _, s := range sets {
		s.Table = t.inner()
	}
}

func (t table) connect() (*nftables.Conn, error) {
	var opts []nftables.ConnOption
	if t.read != nil {
		opts = append(opts, nftables.WithTestDial(t.read))
	}
	if t.where != nil {
		opts = append(opts, nftables.WithNetNSFd(t.where.fd()))
	}
	c, err := nftables.New(opts...)
	if err != nil {
		return nil, fmt.Errorf("speak to nftables: %w", err)
	}
	return c, nil
}

// change makes all that fn adds to a batch come true at once, or nothing of it.
func (t table) change(fn func(b *batch)) error {
	c, err := t.connect()
	if err != nil {
		return err
	}
	b := &batch{conn: c, table: t.inner()}
	fn(b)
	if b.err != nil {
		return fmt.Errorf("write rules: %w", b.err)
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("set rules: %w", err)
	}
	return nil
}

// remove deletes the table with everything in it, if it is there.
func (t table) remove() error {
	there, err := t.exists()
	if err != nil || !there {
		return err
	}
	err = t.change(func(b *batch) { b.conn.DelTable(b.table) })
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (t table) exists() (bool, error) {
	list, err := t.names()
	if err != nil {
		return false, err
	}
	return slices.Contains(list, t.name), nil
}

// names lists the tables beside this one.
func (t table) names() ([]string, error) {
	c, err := t.connect()
	if err != nil {
		return nil, err
	}
	list, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list tables of rules: %w", err)
	}
	var names []string
	for _, one := range list {
		names = append(names, one.Name)
	}
	return names, nil
}

// batch gathers changes. The first error stays.
type batch struct {
	conn  *nftables.Conn
	table *nftables.Table
	sets  uint32
	err   error
}

func (b *batch) note(err error) {
	if b.err == nil {
		b.err = err
	}
}

// chain adds a chain that others lead to.
func (b *batch) chain(name string) *nftables.Chain {
	return b.conn.AddChain(&nftables.Chain{Name: name, Table: b.table})
}

// hook adds a chain that packets meet at a place of their way.
func (b *batch) hook(name string, at *nftables.ChainHook, kind nftables.ChainType, priority int, policy nftables.ChainPolicy) *nftables.Chain {
	return b.conn.AddChain(&nftables.Chain{
		Name: name, Table: b.table, Type: kind, Hooknum: at,
		Priority: new(nftables.ChainPriority(priority)), Policy: &policy,
	})
}

func (b *batch) rules(chain *nftables.Chain, rules ...part) {
	for _, r := range rules {
		b.conn.AddRule(&nftables.Rule{Table: b.table, Chain: chain, Exprs: r})
	}
}

// set adds a set. Its number, which holds within the batch, is ours: the library
// counts for all batches of the process, without a lock.
func (b *batch) set(s *nftables.Set) {
	b.sets++
	s.Table, s.ID = b.table, b.sets
	b.note(b.conn.AddSet(s, nil))
}

// perMessage bounds the elements of one message, whose length is 16 bits.
const perMessage = 400

func (b *batch) add(s *nftables.Set, elements []nftables.SetElement) {
	for len(elements) > 0 {
		n := min(len(elements), perMessage)
		b.note(b.conn.SetAddElements(s, elements[:n]))
		elements = elements[n:]
	}
}

func (b *batch) flush(s *nftables.Set) { b.conn.FlushSet(s) }

// replace gives an element a new time to stay. The kernel keeps the time of an
// element that is there, and cannot delete one that is not: it is added, deleted
// and added.
func (b *batch) replace(s *nftables.Set, key []byte, stay time.Duration) {
	element := []nftables.SetElement{{Key: key, Timeout: stay}}
	b.add(s, element)
	b.note(b.conn.SetDeleteElements(s, []nftables.SetElement{{Key: key}}))
	b.add(s, element)
}

// drop removes an element that may be there or not.
func (b *batch) drop(s *nftables.Set, key []byte) {
	b.add(s, []nftables.SetElement{{Key: key}})
	b.note(b.conn.SetDeleteElements(s, []nftables.SetElement{{Key: key}}))
}

// elements returns what a set holds.
func (t table) elements(s *nftables.Set) ([]nftables.SetElement, error) {
	c, err := t.connect()
	if err != nil {
		return nil, err
	}
	list, err := c.GetSetElements(s)
	if err != nil {
		return nil, fmt.Errorf("read the set %s: %w", s.Name, err)
	}
	return list, nil
}

// intervals are ranges as the kernel takes them: each from its first address up
// to the one behind its last. The last address of all has none behind it.
func intervals(ranges []netipx.IPRange) []nftables.SetElement {
	var list []nftables.SetElement
	for _, r := range ranges {
		list = append(list, nftables.SetElement{Key: r.From().AsSlice()})
		if next := r.To().Next(); next.IsValid() {
			list = append(list, nftables.SetElement{Key: next.AsSlice(), IntervalEnd: true})
		}
	}
	return list
}

// isAbsent reports that what was to be removed is not there.
func isAbsent(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV)
}
