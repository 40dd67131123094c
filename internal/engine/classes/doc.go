// Package classes is the engine of a machine that offers several classes of
// isolation: it gives each sandbox to the engine that makes its class.
package classes
