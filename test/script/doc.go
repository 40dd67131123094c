// Package script runs the real program as a user does: one testscript per
// command in testdata, against a real server with real sandboxes, and in Go what
// needs signals: killing the server in the middle of its work, draining it.
//
// In the scripts `remuda` is the program, REMUDA_URL and REMUDA_TOKEN lead to
// the server; `local` runs a command without them. Names that a script makes on
// the server must be its own, because all scripts share it.
package script
