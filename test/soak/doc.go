// Package soak runs very many one-shot executions with runspaces open beside
// them and proves that nothing of them stays: it takes a census of the server,
// its sandboxes and the machine before and after, prints both, and fails on
// growth beyond a small bound that the table states.
//
// In `make test` it is short, and what belongs to the whole machine is printed
// but not judged, because other tests run at the same time. `make soak` runs
// 100,000 (COUNT=n for another number) alone, and judges everything.
//
// The database grows with every execution by design (retention is a setting of
// its own room), so it is printed and not judged. Start with soak_test.go;
// census_test.go counts.
package soak
