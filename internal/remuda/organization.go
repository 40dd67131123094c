package remuda

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Role is what a user may do in an organization.
type Role string

// The four roles, strongest first. A role may do all that the ones after it may.
const (
	RoleAdministrator Role = "administrator" // users, tokens of others, settings
	RoleDeployer      Role = "deployer"      // runtimes
	RoleOperator      Role = "operator"      // run code: runspaces, executions, files
	RoleMonitor       Role = "monitor"       // read
)

// Scope narrows a token.
type Scope string

// Scopes of a token.
const (
	ScopeRead  Scope = "read"
	ScopeWrite Scope = "write"
)

// Policy is what a site's administrator lets an organization do, beyond what the
// site's own settings forbid everybody. The zero value adds nothing.
type Policy struct {
	Isolations   []Isolation // classes that its runtimes may have; empty is the site's
	Network      EgressRules // what its runtimes may list and reach
	MaxInstances int         // instances it may hold at the same time; 0 is the site's number
}

// Clone returns a copy that shares nothing with p.
func (p Policy) Clone() Policy {
	p.Isolations = slices.Clone(p.Isolations)
	p.Network = EgressRules{Allow: slices.Clone(p.Network.Allow), Forbid: slices.Clone(p.Network.Forbid)}
	return p
}

// PolicyPatch changes the fields that are not nil.
type PolicyPatch struct {
	Isolations   *[]Isolation
	Allow        *[]netip.Prefix
	Forbid       *[]netip.Prefix
	MaxInstances *int
}

// Limits are what an organization's administrators bound, while things run. Zero
// is the site's default.
type Limits struct {
	MaxRunspaces        int           // open at the same time
	MaxRunspacesPerUser int           // of one owner
	IdleTimeout         time.Duration // of runspaces that do not ask for their own
	ActiveTimeout       time.Duration // likewise: how long one script may run in it
	MemoryMB            int           // of a runspace; never above its runtime's
	KeepExecutions      int           // ended ones that are kept for each user
	KeepFor             time.Duration // how long ended ones are kept
}

// Or returns l with what def says where l says nothing.
func (l Limits) Or(def Limits) Limits {
	return Limits{
		MaxRunspaces: cmp.Or(l.MaxRunspaces, def.MaxRunspaces), MaxRunspacesPerUser: cmp.Or(l.MaxRunspacesPerUser, def.MaxRunspacesPerUser),
		IdleTimeout: cmp.Or(l.IdleTimeout, def.IdleTimeout), ActiveTimeout: cmp.Or(l.ActiveTimeout, def.ActiveTimeout),
		MemoryMB: cmp.Or(l.MemoryMB, def.MemoryMB), KeepExecutions: cmp.Or(l.KeepExecutions, def.KeepExecutions), KeepFor: cmp.Or(l.KeepFor, def.KeepFor),
	}
}

// LimitsPatch changes the fields that are not nil; a pointer to zero goes back to
// the site's default.
type LimitsPatch struct {
	MaxRunspaces        *int
	MaxRunspacesPerUser *int
	IdleTimeout         *time.Duration
	ActiveTimeout       *time.Duration
	MemoryMB            *int
	KeepExecutions      *int
	KeepFor             *time.Duration
}

// Organization is a tenant.
type Organization struct {
	ID        OrganizationID
	Name      string // unique
	CreatedAt time.Time
	Policy    Policy
	Limits    Limits
}

// User is an account. Its roles are per organization.
type User struct {
	ID           UserID
	Name         string // unique on the site
	SiteAdmin    bool   // may make organizations and users, and change global objects
	PasswordHash string // argon2id, PHC form; never leaves the services
	Disabled     bool
	CreatedAt    time.Time
}

// Membership gives a user a role in an organization.
type Membership struct {
	Organization OrganizationID
	User         UserID
	Role         Role
}

// Token is a bearer token; its secret is stored only as a hash.
type Token struct {
	ID           TokenID
	Organization OrganizationID
	User         UserID
	Name         string
	Scope        Scope
	Hash         string // hex SHA-256 of the secret
	ExpiresAt    *time.Time
	CreatedAt    time.Time
	Purpose      TokenPurpose
	Idle         time.Duration // of a session: how long it lives without being used
	Parent       TokenID       // the token it was made from and ends with; "" is none
}

// TokenPurpose says what a token is for.
type TokenPurpose string

// The purposes of tokens.
const (
	TokenBearer   TokenPurpose = ""         // acts until it expires or is revoked
	TokenSession  TokenPurpose = "session"  // acts, and is prolonged whenever it is used
	TokenIdentity TokenPurpose = "identity" // does nothing but open sessions
	// TokenDelegated acts for a script for as long as it runs, and makes no tokens.
	TokenDelegated TokenPurpose = "delegated"
)

// Principal is who is asking: a user acting in one organization. It is made by
// authentication and passed explicitly to every service call.
type Principal struct {
	User         UserID
	UserName     string
	Organization OrganizationID
	Role         Role
	SiteAdmin    bool
	Scope        Scope
	Token        TokenID // "" when authenticated by password
	RequestID    string  // for the audit log
	Comment      string  // why, in the caller's words; for the audit log
	// OwnOnly is set by a door whose tenancy is by user: runspaces, executions and
	// terminals of other users of the organization are not there.
	OwnOnly bool
}

// Page asks for one page of a list. Cursor is the "next" of the page before.
type Page struct {
	Limit  int // 0 is the default of 50; at most 200
	Cursor string
}

// Member is a user's role in an organization, with the user's name.
type Member struct {
	User     UserID
	UserName string
	Role     Role
}
