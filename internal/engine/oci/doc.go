// Package oci is the engine of the isolation class gvisor: each sandbox is a
// container of an OCI runtime, gVisor's runsc, and so has a kernel of its own in
// user space between itself and the machine's.
//
// The first process of the container is the keeper (internal/guest), which
// speaks the same wire 1 as in a sandbox of package local; package keeper makes
// the instance of it. What only this engine does: the read-only root that all
// its sandboxes share (root.go), the bundle (bundle.go), the start of runsc
// inside the sandbox's cgroup (runtime.go), and how its limits are told apart:
// cgroups of the machine bound memory and processor time of the whole of runsc,
// gVisor bounds processes and disk.
//
// It does no egress: a sandbox has its own loopback and nothing else.
// Start reading at Engine.Create.
package oci
