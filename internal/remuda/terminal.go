package remuda

import "time"

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
	Rows, Cols int // both 0 is 24 rows of 80 columns
}

// TerminalTicket is a secret with which one connection to a terminal can be made,
// once.
type TerminalTicket struct {
	Secret    string
	ExpiresAt time.Time
}
