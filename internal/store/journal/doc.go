// Package journal keeps records in a file until they are kept somewhere else: a
// record that was appended survives kill -9 and, unless the owner of the journal asks
// for less, a loss of power.
//
// To append costs one write to a place in the file that exists already, which is less
// than a transaction of a database costs. What was appended together shares that write. The file does not grow: it has two halves, which are written in turns,
// each anew when the owner has forgotten all that it holds.
//
// A record belongs here when somebody waits for it to be durable and nothing can
// refuse it any more. What it means, and how it gets to where it is kept, is the
// owner's part; this package knows bytes, numbers and a file. It does not know what a
// database is.
package journal
