// Package protocol is the wire between a server and the keeper of a sandbox
// (the first process inside it): length-prefixed frames, a type byte and a
// payload. guest/PROTOCOL.md is the specification; this package is its only
// implementation in Go and is linked into remuda-init, so it imports next to
// nothing.
package protocol
