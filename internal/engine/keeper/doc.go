// Package keeper is the engine's side of a sandbox that has a keeper: what wire 1
// (internal/guest/PROTOCOL.md) says becomes an engine.Instance. How the sandbox
// is made, what its processes are and how it is removed is the engine's own. Start
// reading at New, Begin and Execute; of one that an earlier server made, at Attach
// and Resume.
package keeper
