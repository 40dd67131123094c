// Package terminals is the service of terminals in runspaces: who may open one,
// who may connect to it, how many there are, when they end.
//
// A terminal is opened with the right to run scripts (Open). Whoever may use it
// gets a ticket (Ticket): a secret that is good for one connection, for a short
// time and for that terminal only, so that a browser can present it where it can
// present no token. A connection (Attach) sees what the terminal has shown before,
// as far as it is kept, then all that follows. A new connection takes the terminal
// over from an older one.
//
// What is typed and shown is recorded nowhere; that terminals are opened,
// connected to and closed is in the audit log.
//
// Terminals are known to the process that opened them: they end with it, with the
// runspace, and with their program. Start reading at service.go.
package terminals
