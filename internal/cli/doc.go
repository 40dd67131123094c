// Package cli is the command line: one file for each command, one struct that
// holds all that a command may touch outside itself, so that tests run the real
// command tree in process.
//
// A command parses, calls a client (package client), the composition root
// (package app) or the bench, and prints. It decides nothing else. Start with
// env.go, then root.go for the tree; errors.go holds the exit statuses.
package cli
