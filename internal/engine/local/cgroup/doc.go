// Package cgroup fences the resources of sandboxes: one small interface over
// cgroups v1 and v2. Making, limiting and admitting go through
// containerd/cgroups; what is read on every execution comes straight from the
// files, by a table of names per version, in microseconds.
//
// A Herd is the parent cgroup of one data directory's sandboxes, a Group is one
// sandbox. The herd's children are the authority on what an earlier server left.
// Start with Detect.
package cgroup
