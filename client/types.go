package client

import "github.com/remuda-run/remuda/api"

// The wire types of the API; api/openapi.yaml describes each field.
type (
	Env                     = api.Env
	Execution               = api.Execution
	ExecutionCreate         = api.ExecutionCreate
	ExecutionList           = api.ExecutionList
	ExecutionState          = api.ExecutionState
	FieldError              = api.FieldError
	FileCreate              = api.FileCreate
	FileEntry               = api.FileEntry
	FileList                = api.FileList
	Health                  = api.Health
	Interpreter             = api.Interpreter
	InterpreterList         = api.InterpreterList
	KilledBy                = api.KilledBy
	Language                = api.Language
	Member                  = api.Member
	MemberList              = api.MemberList
	Organization            = api.Organization
	OrganizationCreate      = api.OrganizationCreate
	OrganizationList        = api.OrganizationList
	OutputPage              = api.OutputPage
	OutputRecord            = api.OutputRecord
	Pool                    = api.Pool
	PoolUpdate              = api.PoolUpdate
	Resources               = api.Resources
	ResourcesUpdate         = api.ResourcesUpdate
	Role                    = api.Role
	Runspace                = api.Runspace
	RunspaceCreate          = api.RunspaceCreate
	RunspaceExecutionCreate = api.RunspaceExecutionCreate
	RunspaceList            = api.RunspaceList
	RunspaceState           = api.RunspaceState
	Runtime                 = api.Runtime
	RuntimeCreate           = api.RuntimeCreate
	RuntimeList             = api.RuntimeList
	RuntimeUpdate           = api.RuntimeUpdate
	Scope                   = api.Scope
	ScriptError             = api.ScriptError
	Token                   = api.Token
	TokenCreate             = api.TokenCreate
	TokenCreated            = api.TokenCreated
	TokenList               = api.TokenList
	Usage                   = api.Usage
	User                    = api.User
	UserCreate              = api.UserCreate
	UserList                = api.UserList
	UserUpdate              = api.UserUpdate
	Value                   = api.Value
	Whoami                  = api.Whoami
)

// Final reports whether an execution in this state has ended.
func Final(s ExecutionState) bool {
	return s != api.ExecutionStateQueued && s != api.ExecutionStateRunning
}

// Bytes returns what a record of output holds.
func Bytes(r OutputRecord) []byte {
	if r.Data != nil {
		return []byte(*r.Data)
	}
	return r.DataBase64
}
