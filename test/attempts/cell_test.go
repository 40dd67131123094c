package attempts

import (
	"fmt"
	"slices"
	"testing"
)

// place is where an attempt is made.
type place struct{ class, kind string }

// The classes of isolation and the kinds of instances.
const (
	process, gvisor      = "process", "gvisor"
	cold, warm, runspace = "cold", "warm", "runspace"
)

func (p place) String() string {
	if p.kind == "" {
		return p.class
	}
	return p.class + " " + p.kind
}

// atServer is the place of attempts that are not made by a script.
var atServer = place{class: "server"}

// everywhere are all instances. Those of gVisor start slowly: the short form
// makes only the attempts there that come many in one program, see probes.
func everywhere() []place {
	list := []place{{process, cold}, {process, warm}, {process, runspace}}
	if *full {
		list = append(list, place{gvisor, cold}, place{gvisor, warm}, place{gvisor, runspace})
	}
	return list
}

// probed are the places of probes.
func probed() []place {
	if *full {
		return everywhere()
	}
	return append(everywhere(), place{gvisor, warm})
}

// atServerOnly is for rows that are tried once.
func atServerOnly() []place { return []place{atServer} }

// each is one place of each class.
func each(kind string) []place { return only(place{process, kind}, place{gvisor, kind}) }

// only are some places, in the short form without those of gVisor.
func only(list ...place) []place {
	if *full {
		return list
	}
	return slices.DeleteFunc(list, func(p place) bool { return p.class == gvisor })
}

// Verdicts.
const (
	held   = "held"
	broken = "ESCAPED"
	failed = "not known" // the attempt itself went wrong
	notRun = "not run"
	thin   = "weak spot" // known, and told in the document
)

// cell is one attempt in one place.
type cell struct {
	*testing.T
	house   *house
	row     row
	place   place
	seen    string
	escaped bool
	absent  bool
	isWeak  bool
}

// saw notes what came of the attempt, for the table.
func (c *cell) saw(format string, args ...any) { c.seen = fmt.Sprintf(format, args...) }

// log is the server's, when each of the texts is in it.
func (c *cell) log(texts ...string) string {
	c.Helper()
	return c.house.server.For(c.T).LogWith(texts...)
}

// escape reports that the attempt succeeded, or that a promise does not hold.
func (c *cell) escape(format string, args ...any) {
	c.Helper()
	c.escaped = true
	c.saw(format, args...)
	c.Errorf("ESCAPED: %s %s, %s: %s", c.row.id, c.row.attempt, c.place, c.seen)
}

// holds checks what was seen: when it does not hold, the attempt has escaped.
func (c *cell) holds(ok bool, format string, args ...any) {
	c.Helper()
	if !ok {
		c.escape(format, args...)
		return
	}
	if !c.escaped {
		c.saw(format, args...)
	}
}

// cannot ends an attempt that cannot be made here.
func (c *cell) cannot(format string, args ...any) {
	c.Helper()
	c.absent = true
	c.saw(format, args...)
	c.Skipf("not run: %s", c.seen)
}

// weak notes a known weak spot, which docs/security.md has to name.
func (c *cell) weak(format string, args ...any) {
	c.isWeak = true
	c.saw(format, args...)
}

func (c *cell) verdict() string {
	switch {
	case c.escaped:
		return broken
	case c.absent:
		return notRun
	case c.Failed() || c.seen == "":
		return failed
	case c.isWeak:
		return thin
	}
	return held
}
