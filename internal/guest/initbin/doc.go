// Package initbin embeds the built remuda-init. It compiles without it, so that
// tests and tools need no particular build order; Binary then says what to do.
package initbin
