package native

import (
	"context"
	"io"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
)

// Services are what this edge calls. The composition root (internal/app) fills
// it in.
type Services struct {
	Authenticator Authenticator
	Tokens        Tokens
	Organizations Organizations
	Users         Users
	Runtimes      Runtimes
	Runspaces     Runspaces
	Files         Files
	Executions    Executions
	Terminals     Terminals
	Scripts       Scripts
}

// Authenticator turns credentials into a principal. Errors are
// CodeUnauthenticated and never say which half was wrong.
type Authenticator interface {
	// AuthenticateBasic checks a password. organization is a name or id; "" is
	// the user's only or first one.
	AuthenticateBasic(ctx context.Context, user, password, organization string) (remuda.Principal, error)
	AuthenticateToken(ctx context.Context, secret string) (remuda.Principal, error)
}

// Tokens are bearer tokens of the principal (an administrator sees all of the
// organization).
type Tokens interface {
	// CreateToken returns the token and its secret, which is never shown again.
	CreateToken(ctx context.Context, p remuda.Principal, name string, scope remuda.Scope, expiresAt *time.Time) (remuda.Token, string, error)
	ListTokens(ctx context.Context, p remuda.Principal, page remuda.Page) ([]remuda.Token, string, error)
	RevokeToken(ctx context.Context, p remuda.Principal, id remuda.TokenID) error
}

// Organizations are managed by site administrators; members by the
// organization's administrators.
type Organizations interface {
	CreateOrganization(ctx context.Context, p remuda.Principal, name string) (remuda.Organization, error)
	ListOrganizations(ctx context.Context, p remuda.Principal, page remuda.Page) ([]remuda.Organization, string, error)
	GetOrganization(ctx context.Context, p remuda.Principal, ref string) (remuda.Organization, error)
	// UpdateOrganization changes what an organization may do; the new policy is in
	// force when it returns.
	UpdateOrganization(ctx context.Context, p remuda.Principal, ref string, patch remuda.PolicyPatch) (remuda.Organization, error)
	// GetLimits returns what an organization has set itself, and what is in force.
	GetLimits(ctx context.Context, p remuda.Principal, ref string) (own, inForce remuda.Limits, err error)
	// UpdateLimits changes what an organization has set itself; the new limits are
	// in force when it returns.
	UpdateLimits(ctx context.Context, p remuda.Principal, ref string, patch remuda.LimitsPatch) (own, inForce remuda.Limits, err error)
	ListMembers(ctx context.Context, p remuda.Principal, org string) ([]Member, error)
	PutMember(ctx context.Context, p remuda.Principal, org, user string, role remuda.Role) (Member, error)
	RemoveMember(ctx context.Context, p remuda.Principal, org, user string) error
}

// Member is a user's role in an organization.
type Member = remuda.Member

// Users are accounts of the site.
type Users interface {
	CreateUser(ctx context.Context, p remuda.Principal, name, password string, siteAdmin bool) (remuda.User, error)
	ListUsers(ctx context.Context, p remuda.Principal, page remuda.Page) ([]remuda.User, string, error)
	GetUser(ctx context.Context, p remuda.Principal, ref string) (remuda.User, error)
	// UpdateUser changes what is not nil: a user its own password, a site
	// administrator everything.
	UpdateUser(ctx context.Context, p remuda.Principal, ref string, password *string, disabled *bool) (remuda.User, error)
}

// Runtimes are definitions. ref is an id or a name; the principal's own
// organization is looked in first, then the global one.
type Runtimes interface {
	CreateRuntime(ctx context.Context, p remuda.Principal, d remuda.Definition) (remuda.Runtime, error)
	ListRuntimes(ctx context.Context, p remuda.Principal, name string, page remuda.Page) ([]remuda.Runtime, string, error)
	GetRuntime(ctx context.Context, p remuda.Principal, ref string) (remuda.Runtime, error)
	// UpdateRuntime makes a new generation when it returns; no warm instance of
	// the old one is handed out afterwards.
	UpdateRuntime(ctx context.Context, p remuda.Principal, ref string, patch remuda.RuntimePatch) (remuda.Runtime, error)
	DeleteRuntime(ctx context.Context, p remuda.Principal, ref string, how remuda.Deletion) error
	// WaitRuntime returns when no build of it goes on, or after d.
	WaitRuntime(ctx context.Context, p remuda.Principal, ref string, d time.Duration) (remuda.Runtime, error)
	Builds
	RuntimeVersions(ctx context.Context, p remuda.Principal, language remuda.Language) ([]engine.Interpreter, error)
}

// Builds are the making of a runtime's generations.
type Builds interface {
	// RebuildRuntime makes a new generation of the same definition.
	RebuildRuntime(ctx context.Context, p remuda.Principal, ref string, refresh bool) (remuda.Runtime, error)
	ListBuilds(ctx context.Context, p remuda.Principal, ref string, page remuda.Page) ([]remuda.Build, string, error)
	GetBuild(ctx context.Context, p remuda.Principal, ref string, number int) (remuda.Build, error)
	// BuildLog returns records with Seq > after, at most maxBytes of data, and the
	// build as it is together with them. With wait it blocks until there is
	// something new or the build has ended.
	BuildLog(ctx context.Context, p remuda.Principal, ref string, number int, after int64, maxBytes int, wait time.Duration) (remuda.OutputPage, remuda.Build, error)
}

// Runspaces are leases on instances.
type Runspaces interface {
	// CreateRunspace returns at once, in state creating.
	CreateRunspace(ctx context.Context, p remuda.Principal, req remuda.RunspaceRequest) (remuda.Runspace, error)
	ListRunspaces(ctx context.Context, p remuda.Principal, page remuda.Page) ([]remuda.Runspace, string, error)
	GetRunspace(ctx context.Context, p remuda.Principal, id remuda.RunspaceID) (remuda.Runspace, error)
	// WaitRunspace returns when the runspace has left creating, or after d.
	WaitRunspace(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, d time.Duration) (remuda.Runspace, error)
	// DeleteRunspace ends what runs there and returns once the sandbox is gone.
	DeleteRunspace(ctx context.Context, p remuda.Principal, id remuda.RunspaceID) error
	// InterruptRunspace cancels what runs there and returns once the interrupt is
	// sent. The runspace stays.
	InterruptRunspace(ctx context.Context, p remuda.Principal, id remuda.RunspaceID) (remuda.Runspace, error)
	// ResetRunspace returns at once, in state creating: a fresh instance with the
	// same workspace is being made.
	ResetRunspace(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, req runspaces.ResetRequest) (remuda.Runspace, error)
}

// Scripts are stored scripts.
type Scripts interface {
	CreateScript(ctx context.Context, p remuda.Principal, d remuda.ScriptDefinition) (remuda.Script, error)
	// ListScripts gives scripts without contents and variables; name "" is all.
	ListScripts(ctx context.Context, p remuda.Principal, name string, page remuda.Page) ([]remuda.Script, string, error)
	GetScript(ctx context.Context, p remuda.Principal, ref string) (remuda.Script, error)
	UpdateScript(ctx context.Context, p remuda.Principal, ref string, patch remuda.ScriptPatch) (remuda.Script, error)
	DeleteScript(ctx context.Context, p remuda.Principal, ref string) error
}

// Files is a runspace's workspace.
type Files interface {
	ReadFile(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, path string) (remuda.FileInfo, io.ReadCloser, error)
	WriteFile(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, path string, content io.Reader) (remuda.FileInfo, error)
	ListFiles(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, path string) ([]remuda.FileInfo, error)
	DeleteFile(ctx context.Context, p remuda.Principal, id remuda.RunspaceID, path string) error
}

// Executions are script runs.
type Executions interface {
	// SubmitExecution records and starts an execution. With wait > 0 it returns
	// when the execution has ended or after wait, whichever comes first; the
	// state says which.
	SubmitExecution(ctx context.Context, p remuda.Principal, req remuda.ExecutionRequest, wait time.Duration) (remuda.Execution, error)
	// RunExecution runs a script in a runspace and returns when it has ended.
	// recorded waits until that is durable and returns the end; it must be called
	// once, and before it has returned nobody may be told of the end. more says
	// whether the caller has another request already; ends then share commits.
	RunExecution(ctx context.Context, p remuda.Principal, req remuda.ExecutionRequest, more func() bool) (recorded func() (remuda.Execution, error), err error)
	ListExecutions(ctx context.Context, p remuda.Principal, filter remuda.ExecutionFilter, page remuda.Page) ([]remuda.Execution, string, error)
	GetExecution(ctx context.Context, p remuda.Principal, id remuda.ExecutionID) (remuda.Execution, error)
	WaitExecution(ctx context.Context, p remuda.Principal, id remuda.ExecutionID, d time.Duration) (remuda.Execution, error)
	// CancelExecution interrupts; it returns once the interrupt is sent. An
	// execution that has ended is a conflict.
	CancelExecution(ctx context.Context, p remuda.Principal, id remuda.ExecutionID) (remuda.Execution, error)
	// Output returns records with Seq > after, at most maxBytes of data. With
	// wait it blocks until there is a record or the execution has ended.
	Output(ctx context.Context, p remuda.Principal, id remuda.ExecutionID, after int64, maxBytes int, wait time.Duration) (remuda.OutputPage, error)
	Messages
}

// Messages are what executions say besides and instead of their output.
type Messages interface {
	// StreamRecords returns messages of a stream, always all of an output record;
	// next is what to give as After to go on. ended says that nothing comes after next.
	StreamRecords(ctx context.Context, p remuda.Principal, id remuda.ExecutionID, stream remuda.Stream, page remuda.StreamPage) (records []remuda.StreamRecord, next int64, ended bool, err error)
	// OutputObjects returns a JSON text with TypeName, Interfaces and Value for each
	// object. They are what the sandbox sent: a script may have made them up.
	OutputObjects(ctx context.Context, p remuda.Principal, id remuda.ExecutionID) (objects []string, ended bool, err error)
	OutputText(ctx context.Context, p remuda.Principal, id remuda.ExecutionID) (text string, ended bool, err error)
}
