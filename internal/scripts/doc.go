// Package scripts is the service of stored scripts: who may read, change and run
// them, what their variables are, and which executions were runs of them.
//
// A script reads its variables as $name. Before it runs, each $name outside of
// strings and comments is rewritten to a name that the script does not use
// (bind.go, over the small lexer in lex.go), to which the value is bound as a
// parameter of the execution; lines keep their numbers. Assigning to a variable is
// refused. Running itself is the service of executions' business; a run is an
// execution and a row that says of which script it was, so that it is found again
// after a restart.
//
// Two things serve others: PrepareScript (prepare.go) makes a stored script ready for
// whoever runs it elsewhere, such as a runspace that it connects to something; and
// argument templates (templates.go, over the quoting of each language in quote.go)
// make small scripts of plain values.
//
// Doors call a run an evaluation; here it is a run, which is an execution.
//
// Start with service.go, then run.go.
package scripts
