package remuda

import (
	"fmt"
	"time"
)

// Terminal is a program with a terminal of its own in a runspace: for a person
// who looks around in there, beside the scripts. It ends with the runspace and
// with the server.
type Terminal struct {
	ID           TerminalID
	Alias        string // another name, for a door with ids of its own; may be empty
	Runspace     RunspaceID
	Organization OrganizationID
	Owner        UserID
	Command      []string // empty is the language's interactive interpreter
	Rows, Cols   int
	Attached     bool // somebody is connected to it
	CreatedAt    time.Time
	EndedAt      *time.Time // of its program; nil while it runs
	ExitCode     *int       // 128 and the signal's number if a signal ended it; nil while it runs
}

// TerminalRequest asks for a terminal.
type TerminalRequest struct {
	Runspace   RunspaceID
	Alias      string
	Command    []string
	Env        map[string]string
	Rows, Cols int // both 0 is DefaultTerminalRows of DefaultTerminalCols
}

// Sizes of terminals.
const (
	DefaultTerminalRows = 24
	DefaultTerminalCols = 80
	MaxTerminalSide     = 1000
)

// CheckTerminalSize returns what is wrong with the size of a terminal.
func CheckTerminalSize(rows, cols int) (wrong []FieldError) {
	for _, side := range []struct {
		field string
		n     int
	}{{"rows", rows}, {"cols", cols}} {
		if side.n < 1 || side.n > MaxTerminalSide {
			wrong = append(wrong, FieldError{Field: side.field, Message: fmt.Sprintf("must be from 1 to %d", MaxTerminalSide)})
		}
	}
	return wrong
}

// TerminalTicket is a secret with which one connection to a terminal can be made,
// once.
type TerminalTicket struct {
	Secret    string
	ExpiresAt time.Time
}
