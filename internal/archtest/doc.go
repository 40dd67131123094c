// Package archtest holds the rules of the house that the compiler does not
// know, as tests: which room may import which, how long a file may be, what the
// programs may link, that every package says what it is for, that links in the
// documents lead somewhere, which locks may be taken inside a transaction.
//
// It has no code of its own. .golangci.yaml states part of the layer rules too,
// for editors; where the two differ, this package decides. A new package gets
// its place in rooms_test.go first.
package archtest
