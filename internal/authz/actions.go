package authz

import (
	"slices"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Action is something that a principal may want to do. The text appears in the
// audit log.
type Action string

// The actions. Every operation of every door is one of them.
const (
	RuntimeRead  Action = "runtime.read"
	RuntimeWrite Action = "runtime.write" // create, change, delete

	BuildRead Action = "build.read" // logs too
	BuildRun  Action = "build.run"  // build again

	RunspaceRead  Action = "runspace.read"
	RunspaceWrite Action = "runspace.write" // create, delete

	ExecutionRead Action = "execution.read" // results and output too
	ExecutionRun  Action = "execution.run"  // submit, cancel

	FileRead  Action = "file.read"
	FileWrite Action = "file.write"

	TokenRead Action = "token.read" // list own
	TokenOwn  Action = "token.own"  // create and revoke own
	TokenAll  Action = "token.all"  // list and revoke those of others

	SessionOpen Action = "session.open" // open and close own sessions

	ScriptRead  Action = "script.read"
	ScriptWrite Action = "script.write" // create, change, delete; a run is an execution.run

	UserSelf  Action = "user.self"  // read the own account
	UserPass  Action = "user.pass"  // change the own password
	UserRead  Action = "user.read"  // read the accounts of others
	UserWrite Action = "user.write" // create, disable, set passwords of others

	OrganizationRead  Action = "organization.read"
	OrganizationWrite Action = "organization.write" // create
	MemberRead        Action = "member.read"
	MemberWrite       Action = "member.write"
	LimitsRead        Action = "limits.read"
	LimitsWrite       Action = "limits.write"

	AuditRead   Action = "audit.read"
	MetricsRead Action = "metrics.read"
)

// Reach says which organizations' objects an action can have at all.
type Reach string

// The reaches.
const (
	// ReachOwn is the principal's organization only.
	ReachOwn Reach = "own"
	// ReachShared is the own one; objects of the global organization may be
	// read by everybody and changed by site administrators.
	ReachShared Reach = "shared"
	// ReachAny is the own one, and every other for a site administrator.
	ReachAny Reach = "any"
	// ReachSite belongs to no organization: site administrators only.
	ReachSite Reach = "site"
)

// Rule says who may do an action.
type Rule struct {
	Action Action
	// Role is the weakest role in the organization that may; "" needs none. Not
	// used with ReachSite.
	Role remuda.Role
	// Writes is true for an action that changes something; a token of scope read
	// may not do it.
	Writes bool
	Reach  Reach
}

var rules = []Rule{
	{RuntimeRead, remuda.RoleMonitor, false, ReachShared},
	{RuntimeWrite, remuda.RoleDeployer, true, ReachShared},
	{BuildRead, remuda.RoleMonitor, false, ReachShared},
	{BuildRun, remuda.RoleDeployer, true, ReachShared},
	{RunspaceRead, remuda.RoleMonitor, false, ReachOwn},
	{RunspaceWrite, remuda.RoleOperator, true, ReachOwn},
	{ExecutionRead, remuda.RoleMonitor, false, ReachOwn},
	{ExecutionRun, remuda.RoleOperator, true, ReachOwn},
	{FileRead, remuda.RoleMonitor, false, ReachOwn},
	{FileWrite, remuda.RoleOperator, true, ReachOwn},
	{TokenRead, "", false, ReachOwn},
	{TokenOwn, "", true, ReachOwn},
	{TokenAll, remuda.RoleAdministrator, true, ReachOwn},
	{SessionOpen, "", false, ReachOwn},
	{ScriptRead, remuda.RoleMonitor, false, ReachOwn},
	{ScriptWrite, remuda.RoleOperator, true, ReachOwn},
	{UserSelf, "", false, ReachOwn},
	{UserPass, "", true, ReachOwn},
	{UserRead, "", false, ReachSite},
	{UserWrite, "", true, ReachSite},
	{OrganizationRead, remuda.RoleMonitor, false, ReachAny},
	{OrganizationWrite, "", true, ReachSite},
	{MemberRead, remuda.RoleMonitor, false, ReachAny},
	{MemberWrite, remuda.RoleAdministrator, true, ReachAny},
	{LimitsRead, remuda.RoleMonitor, false, ReachAny},
	{LimitsWrite, remuda.RoleAdministrator, true, ReachAny},
	{AuditRead, remuda.RoleAdministrator, false, ReachOwn},
	{MetricsRead, "", false, ReachSite},
}

// Table returns the rules of all actions, for documents and tests.
func Table() []Rule { return slices.Clone(rules) }

// Known reports whether a is an action.
func Known(a Action) bool {
	_, ok := ruleOf(a)
	return ok
}

func ruleOf(a Action) (Rule, bool) {
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.Action == a })
	if i < 0 {
		return Rule{}, false
	}
	return rules[i], true
}
