package remuda

import (
	"encoding/base32"
	"strings"
	"time"
)

// Typed identifiers. Each is a prefix, an underscore and a time-ordered body of
// 48 bits of milliseconds and 128 random bits, so that ids sort by creation and
// cannot be guessed. Those of one process sort by creation within a millisecond too.
type (
	// OrganizationID names a tenant ("org_...").
	OrganizationID string
	// UserID names a person or machine account ("usr_...").
	UserID string
	// TokenID names a bearer token; it is not the secret ("tok_...").
	TokenID string
	// RuntimeID names a runtime definition ("rt_...").
	RuntimeID string
	// InstanceID names one sandbox with one interpreter ("ins_...").
	InstanceID string
	// RunspaceID names a holder's lease on an instance ("rs_...").
	RunspaceID string
	// ExecutionID names one script run ("ex_...").
	ExecutionID string
	// TerminalID names a terminal in a runspace ("trm_...").
	TerminalID string
)

// Prefixes of the identifiers, without the underscore.
const (
	PrefixOrganization = "org"
	PrefixUser         = "usr"
	PrefixToken        = "tok"
	PrefixRuntime      = "rt"
	PrefixInstance     = "ins"
	PrefixRunspace     = "rs"
	PrefixExecution    = "ex"
	PrefixTerminal     = "trm"
)

// GlobalOrganization owns the objects that every organization may read and use
// but none may change, such as the built-in runtimes.
const GlobalOrganization OrganizationID = "org_global"

// idEncoding sorts like the bytes it encodes and needs no escaping in a URL.
var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

const idBodyBytes = idTimeBytes + 16

// bodies are those of this process.
var bodies idBodies

// NewID returns a fresh identifier body with the given prefix.
func NewID(prefix string) string {
	raw := bodies.next(time.Now())
	return prefix + "_" + idEncoding.EncodeToString(raw[:])
}

// IDBefore is below every identifier with the prefix that is made at t or later, and
// above every one that was made a millisecond earlier or before. (Ids may be ahead of
// a clock that was set back, by a second at most.)
func IDBefore(prefix string, t time.Time) string {
	raw := idBody(uint64(max(0, t.UnixMilli())), 0, 0)
	return prefix + "_" + idEncoding.EncodeToString(raw[:])
}

// IsID reports whether s has the form of an identifier with the given prefix.
// It does not say that such an object exists.
func IsID(prefix, s string) bool {
	body, ok := strings.CutPrefix(s, prefix+"_")
	if !ok {
		return false
	}
	raw, err := idEncoding.DecodeString(body)
	return err == nil && len(raw) == idBodyBytes
}

// NewOrganizationID returns a fresh organization id.
func NewOrganizationID() OrganizationID { return OrganizationID(NewID(PrefixOrganization)) }

// NewUserID returns a fresh user id.
func NewUserID() UserID { return UserID(NewID(PrefixUser)) }

// NewTokenID returns a fresh token id.
func NewTokenID() TokenID { return TokenID(NewID(PrefixToken)) }

// NewRuntimeID returns a fresh runtime id.
func NewRuntimeID() RuntimeID { return RuntimeID(NewID(PrefixRuntime)) }

// NewInstanceID returns a fresh instance id.
func NewInstanceID() InstanceID { return InstanceID(NewID(PrefixInstance)) }

// NewRunspaceID returns a fresh runspace id.
func NewRunspaceID() RunspaceID { return RunspaceID(NewID(PrefixRunspace)) }

// NewTerminalID returns a fresh terminal id.
func NewTerminalID() TerminalID { return TerminalID(NewID(PrefixTerminal)) }

// NewExecutionID returns a fresh execution id.
func NewExecutionID() ExecutionID { return ExecutionID(NewID(PrefixExecution)) }
