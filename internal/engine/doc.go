// Package engine says what makes sandboxes: the Engine and Instance interfaces,
// what is asked of them (Spec, Request) and what they answer (Result, Usage).
//
// Code above never knows which engine runs. What an engine cannot enforce it
// refuses to start: there is no weaker fence than the one that was asked for.
// Engines live in packages below this one (local, oci, fake) and each passes the
// suite of enginetest; classes chooses among them. Nothing of HTTP, storage or
// organizations enters here.
package engine
