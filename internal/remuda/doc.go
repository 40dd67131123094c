// Package remuda holds the words of the product: organizations, runtimes,
// generations, instances, runspaces, executions, their identifiers, their state
// tables and the one error type.
//
// It is the lowest layer (L0): it imports the standard library only and every
// other package may import it. Rules (who may do what), storage, wire shapes
// and sandboxes do not belong here; a type enters when two layers must agree on
// its meaning.
//
// Start with runtime.go and execution.go for the nouns, states.go for how they
// move, and error.go for how anything says no.
package remuda
