// Package vm runs the engine's test suites and a smoke run of the product in a
// virtual machine that has all cgroup controllers on v2, because development
// machines are often v1 hybrid. `make test-vm` is the command; the tests carry
// the build tag vm, so that a plain `go test ./...` does not boot a machine.
//
// The machine is emulated (no KVM), has no network, and is made of Debian's
// own parts: image.sh lays a minimal root and the cloud kernel under .cache/,
// and each run boots a throw-away snapshot of it. What is to be run travels on a
// second disk: package guest is the first process, it works through a list of
// steps and reports on the second serial port in the form of report.go. A
// report without its end marker is a failure, whatever came before it.
//
// Start with vm_test.go for what runs, guest/main.go for how.
package vm
