// Package cgroup fences the resources of sandboxes: one small interface over
// cgroups v1 and v2. What is done once, and all changes with v2, go through
// containerd/cgroups; what every sandbox of v1 needs, and what is read on every
// execution, is done with the files themselves, by a table of names per version, in
// microseconds.
//
// A Herd is the parent cgroup of one data directory's sandboxes, a Group is one
// sandbox. The herd's children are the authority on what an earlier server left.
// Start with Detect. With v1, groups may be used again by sandboxes of one kind: Spares.
package cgroup
