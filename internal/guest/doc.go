// Package guest holds what runs inside a sandbox: the interpreters' drivers
// (drivers/), the first process (init/, built as cmd/remuda-init) and the
// protocol that both speak (protocol/, described in PROTOCOL.md).
//
// This package itself only embeds the driver sources for the engines. Nothing
// that runs on the host's side of the fence belongs here.
package guest
