// Package runtimes changes runtimes of a real server: under load, with packages
// from an index of the test, and over the server's death. It needs root.
package runtimes
