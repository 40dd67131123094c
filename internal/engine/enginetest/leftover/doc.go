// Package leftover removes what test binaries that were killed have left on the
// machine: empty cgroups of their herds, pinned routers of their networks and the modules that they had placed. What it
// removes is proved to be of a test, and of one that has ended: by the lock of the
// data directory, or by process number and start time. Tests that make sandboxes
// call Sweep before they begin.
package leftover
