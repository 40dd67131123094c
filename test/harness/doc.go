// Package harness starts the real program as a server of its own and speaks to
// it over HTTP, for tests that want what a user gets: nothing of the product's inside
// is imported. The program is the one that PROGRAM_UNDER_TEST names, or is built from
// the tree.
//
// Start with Start; a failed request fails the test with the server's log.
package harness
