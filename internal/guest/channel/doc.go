// Package channel is the wire between remuda-init and the driver of an
// interpreter, inside the sandbox. It is length-prefixed frames of byte-string
// fields, so simple that a driver reads it without importing a JSON parser; a
// driver that can only read lines (Bash) gets the same fields NUL-separated in
// a file and answers with one line. ../PROTOCOL.md is the specification.
//
// Everything that comes from a driver is foreign bytes: a script shares the
// driver's process. The parsers here trust none of it.
package channel
