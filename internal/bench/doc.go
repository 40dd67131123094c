// Package bench measures Remuda and its peers side by side, in one run, on one
// machine, and prints minimum, median and 99th percentile, ratios to a bare
// interpreter, rates, memory, and which of the project's goals were met.
//
// Machines differ and are noisy, so nothing here is ever a test's assertion and
// only ratios inside one run mean anything: what is compared is measured in
// turns. The server under test is the same program, started as a process of its
// own and spoken to over HTTP on loopback. Beside the peers there is a floor:
// bareloop.py, a Python that forks itself into seven namespaces and does nothing
// else.
//
// bench.go has the order of a run; each part is a file (cold.go, warm.go,
// rate.go, runspace.go, neighbour.go, memory.go); peers*.go are the others, goals.go says what
// was promised, report.go prints. Code that the server needs does not belong
// here. docs/performance.md explains how to read the tables.
package bench
