package runtimes

import (
	"fmt"
	"net/netip"

	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/remuda"
)

// CheckLimits returns what is wrong with limits that are to narrow those of a
// runtime. Fields that are 0 narrow nothing. Above the runtime's is wrong, and
// never clamped.
func CheckLimits(field string, limits, of remuda.Resources) []remuda.FieldError {
	var c checker
	c.lowered(field+".cpu", limits.CPU, minCPU, of.CPU, "cores")
	c.lowered(field+".memory_mb", float64(limits.MemoryMB), minMemoryMB, float64(of.MemoryMB), "MiB")
	c.lowered(field+".disk_mb", float64(limits.DiskMB), 1, float64(of.DiskMB), "MiB")
	c.lowered(field+".pids", float64(limits.Pids), minPids, float64(of.Pids), "processes and threads")
	return c.fields
}

func (c *checker) lowered(field string, v, low, high float64, unit string) {
	switch {
	case v == 0:
	case v > high:
		c.text(field, fmt.Sprintf("is %g, above the runtime's limit of %g %s; ask for less, or change the runtime", v, high, unit))
	case !(v >= low): // not a number is no limit either
		c.text(field, fmt.Sprintf("must be at least %g %s", low, unit))
	}
}

// CheckNarrowedEgress returns what of e is wrong, or not within a runtime's list.
func CheckNarrowedEgress(e, of remuda.Egress) []remuda.FieldError {
	if wrong := egress.Check(e, egress.Site{}); len(wrong) > 0 {
		return wrong
	}
	var c checker
	for i, prefix := range e.CIDRs {
		if !egress.Narrows(remuda.Egress{CIDRs: []netip.Prefix{prefix}}, of) {
			c.text(fmt.Sprintf("egress.cidrs[%d]", i), "is not within the ranges that the runtime may reach")
		}
	}
	for i, name := range e.Names {
		if !egress.Narrows(remuda.Egress{Names: []string{name}}, of) {
			c.text(fmt.Sprintf("egress.names[%d]", i), "is not a name that the runtime may reach")
		}
	}
	return c.fields
}
