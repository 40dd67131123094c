package remuda

import "time"

// AuditEntry says who did what to which object, and how it ended. Entries of an
// organization form a chain: each hash covers the entry and the hash before it.
type AuditEntry struct {
	Organization OrganizationID // GlobalOrganization for changes of the site (users, organizations)
	User         UserID         // "" for the server itself
	Action       string         // word of internal/authz, such as "runtime.write"
	Object       string         // id of what was acted on
	Outcome      string         // OutcomeOK, or the code of the error
	RequestID    string
	At           time.Time
	Details      map[string]string // never secrets; made by internal/audit

	// Seq and Hash are set by the store: the number in the organization's
	// chain, from 1, and the hex SHA-256.
	Seq  int64
	Hash string
}

// OutcomeOK is the outcome of what was done as asked.
const OutcomeOK = "ok"
