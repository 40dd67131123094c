// Package seccomp is the system call filter of a sandbox: an allow-list as data
// (policy.go), compiled to classic BPF (compile.go).
//
// What is on no list is answered with ENOSYS, so that libraries fall back; what
// is known to be dangerous with EPERM. The program is a balanced search tree,
// since the kernel walks the filter once for every system call number when it is
// installed and then for every call: a linear one costs 1.5 ms to install.
package seccomp
