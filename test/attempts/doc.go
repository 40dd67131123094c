// Package attempts tries to break what Remuda promises, through the real
// program and its real API, and writes down what was seen.
//
// A row is one attempt. It is made in every place that concerns it: on a cold, a
// warm and a runspace instance, of each class of isolation, or once against the
// server. A row holds when what was seen is what was expected; a row that cannot
// be tried on a machine is "not run", with the reason, and never holds.
//
// A refusal is only worth something if the attempt was made. So the programs of
// programs/ run twice: inside, and outside in a throw-away copy of the machine's
// root (a mount, pid, network, ipc and uts namespace of its own, as root), where
// the same call must come to something else. The table shows both.
//
// Start with attempts_test.go. The short form is part of `make test`; the full
// one is `make attempts`, which also writes the table into docs/security.md.
package attempts
