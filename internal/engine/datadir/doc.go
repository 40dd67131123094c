// Package datadir takes the directory in which an engine keeps what it has on
// the machine: one engine at a time, readable by it alone, with a name for the
// engine's cgroup that outlives it. What lies in the directory is the engine's own
// affair.
package datadir
