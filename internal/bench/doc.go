// Package bench measures Remuda and its peers side by side, in one run, on one
// machine, and prints medians, 99th percentiles and ratios to a bare
// interpreter.
//
// Machines differ and are noisy, so nothing here is ever a test's assertion and
// only ratios inside one run mean anything: every sample of ours is taken
// between samples of the peers. The server under test is the same program,
// started as a process of its own and spoken to over HTTP on loopback.
//
// Start with bench.go. Code that the server needs does not belong here.
package bench
