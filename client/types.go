package client

import (
	"bytes"
	"encoding/json"

	"github.com/remuda-run/remuda/api"
)

// Wire types of the API, as api/openapi.yaml describes them field by field.
type (
	// ArgumentScript is the schema ArgumentScript.
	ArgumentScript = api.ArgumentScript
	// ArgumentTemplate is the schema ArgumentTemplate.
	ArgumentTemplate = api.ArgumentTemplate
	// ArgumentTemplateFill is the schema ArgumentTemplateFill.
	ArgumentTemplateFill = api.ArgumentTemplateFill
	// ArgumentTemplateList is the schema ArgumentTemplateList.
	ArgumentTemplateList = api.ArgumentTemplateList
	// Build is the schema Build.
	Build = api.Build
	// BuildList is the schema BuildList.
	BuildList = api.BuildList
	// Credentials is the schema Credentials.
	Credentials = api.Credentials
	// Egress is the schema Egress.
	Egress = api.Egress
	// EgressList is the schema EgressList.
	EgressList = api.EgressList
	// Env is the schema Env.
	Env = api.Env
	// Execution is the schema Execution.
	Execution = api.Execution
	// ExecutionCreate is the schema ExecutionCreate.
	ExecutionCreate = api.ExecutionCreate
	// ExecutionList is the schema ExecutionList.
	ExecutionList = api.ExecutionList
	// ExecutionState is the schema ExecutionState.
	ExecutionState = api.ExecutionState
	// FieldError is the schema FieldError.
	FieldError = api.FieldError
	// FileCreate is the schema FileCreate.
	FileCreate = api.FileCreate
	// FileEntry is the schema FileEntry.
	FileEntry = api.FileEntry
	// FileList is the schema FileList.
	FileList = api.FileList
	// Health is the schema Health.
	Health = api.Health
	// Identity is the schema Identity.
	Identity = api.Identity
	// Instances is the schema Instances.
	Instances = api.Instances
	// Interpreter is the schema Interpreter.
	Interpreter = api.Interpreter
	// InterpreterList is the schema InterpreterList.
	InterpreterList = api.InterpreterList
	// Isolation is the schema Isolation.
	Isolation = api.Isolation
	// KilledBy is the schema KilledBy.
	KilledBy = api.KilledBy
	// Language is the schema Language.
	Language = api.Language
	// Limits is the schema Limits.
	Limits = api.Limits
	// LimitsInForce is the schema LimitsInForce.
	LimitsInForce = api.LimitsInForce
	// LimitsUpdate is the schema LimitsUpdate.
	LimitsUpdate = api.LimitsUpdate
	// LockedPackage is the schema LockedPackage.
	LockedPackage = api.LockedPackage
	// Member is the schema Member.
	Member = api.Member
	// MemberList is the schema MemberList.
	MemberList = api.MemberList
	// MessageStream is the schema MessageStream.
	MessageStream = api.MessageStream
	// ObjectList is the schema ObjectList.
	ObjectList = api.ObjectList
	// Organization is the schema Organization.
	Organization = api.Organization
	// OrganizationCreate is the schema OrganizationCreate.
	OrganizationCreate = api.OrganizationCreate
	// OrganizationList is the schema OrganizationList.
	OrganizationList = api.OrganizationList
	// OrganizationUpdate is the schema OrganizationUpdate.
	OrganizationUpdate = api.OrganizationUpdate
	// OutputObject is the schema OutputObject.
	OutputObject = api.OutputObject
	// OutputPage is the schema OutputPage.
	OutputPage = api.OutputPage
	// OutputRecord is the schema OutputRecord.
	OutputRecord = api.OutputRecord
	// OutputText is the schema OutputText.
	OutputText = api.OutputText
	// Package is the schema Package.
	Package = api.Package
	// PackageManager is the schema PackageManager.
	PackageManager = api.PackageManager
	// PackageStatus is the schema PackageStatus.
	PackageStatus = api.PackageStatus
	// ParameterScript is the schema ParameterScript.
	ParameterScript = api.ParameterScript
	// Policy is the schema Policy.
	Policy = api.Policy
	// PolicyUpdate is the schema PolicyUpdate.
	PolicyUpdate = api.PolicyUpdate
	// Pool is the schema Pool.
	Pool = api.Pool
	// PoolUpdate is the schema PoolUpdate.
	PoolUpdate = api.PoolUpdate
	// Resources is the schema Resources.
	Resources = api.Resources
	// ResourcesUpdate is the schema ResourcesUpdate.
	ResourcesUpdate = api.ResourcesUpdate
	// Role is the schema Role.
	Role = api.Role
	// Runspace is the schema Runspace.
	Runspace = api.Runspace
	// RunspaceCreate is the schema RunspaceCreate.
	RunspaceCreate = api.RunspaceCreate
	// RunspaceExecutionCreate is the schema RunspaceExecutionCreate.
	RunspaceExecutionCreate = api.RunspaceExecutionCreate
	// RunspaceList is the schema RunspaceList.
	RunspaceList = api.RunspaceList
	// RunspaceReset is the schema RunspaceReset.
	RunspaceReset = api.RunspaceReset
	// RunspaceState is the schema RunspaceState.
	RunspaceState = api.RunspaceState
	// Runtime is the schema Runtime.
	Runtime = api.Runtime
	// RuntimeCreate is the schema RuntimeCreate.
	RuntimeCreate = api.RuntimeCreate
	// RuntimeList is the schema RuntimeList.
	RuntimeList = api.RuntimeList
	// RuntimeRebuild is the schema RuntimeRebuild.
	RuntimeRebuild = api.RuntimeRebuild
	// RuntimeStatus is the schema RuntimeStatus.
	RuntimeStatus = api.RuntimeStatus
	// RuntimeUpdate is the schema RuntimeUpdate.
	RuntimeUpdate = api.RuntimeUpdate
	// Scope is the schema Scope.
	Scope = api.Scope
	// ScriptError is the schema ScriptError.
	ScriptError = api.ScriptError
	// Script is the schema Script.
	Script = api.Script
	// ScriptCreate is the schema ScriptCreate.
	ScriptCreate = api.ScriptCreate
	// ScriptItem is the schema ScriptItem.
	ScriptItem = api.ScriptItem
	// ScriptList is the schema ScriptList.
	ScriptList = api.ScriptList
	// ScriptUpdate is the schema ScriptUpdate.
	ScriptUpdate = api.ScriptUpdate
	// ScriptVariable is the schema ScriptVariable.
	ScriptVariable = api.ScriptVariable
	// ScriptVariableWrite is the schema ScriptVariableWrite.
	ScriptVariableWrite = api.ScriptVariableWrite
	// StreamPage is the schema StreamPage.
	StreamPage = api.StreamPage
	// StreamRecord is the schema StreamRecord.
	StreamRecord = api.StreamRecord
	// Token is the schema Token.
	Token = api.Token
	// Terminal is the schema Terminal.
	Terminal = api.Terminal
	// TerminalCreate is the schema TerminalCreate.
	TerminalCreate = api.TerminalCreate
	// TerminalCreated is the schema TerminalCreated.
	TerminalCreated = api.TerminalCreated
	// TerminalList is the schema TerminalList.
	TerminalList = api.TerminalList
	// TerminalTicket is the schema TerminalTicket.
	TerminalTicket = api.TerminalTicket
	// TokenCreate is the schema TokenCreate.
	TokenCreate = api.TokenCreate
	// TokenCreated is the schema TokenCreated.
	TokenCreated = api.TokenCreated
	// TokenList is the schema TokenList.
	TokenList = api.TokenList
	// Usage is the schema Usage.
	Usage = api.Usage
	// User is the schema User.
	User = api.User
	// UserCreate is the schema UserCreate.
	UserCreate = api.UserCreate
	// UserList is the schema UserList.
	UserList = api.UserList
	// UserUpdate is the schema UserUpdate.
	UserUpdate = api.UserUpdate
	// Value is the schema Value.
	Value = api.Value
	// VersionPolicy is the schema VersionPolicy.
	VersionPolicy = api.VersionPolicy
	// Whoami is the schema Whoami.
	Whoami = api.Whoami
)

// The streams of messages.
const (
	StreamInformation = api.MessageStreamInformation
	StreamError       = api.MessageStreamError
	StreamWarning     = api.MessageStreamWarning
	StreamDebug       = api.MessageStreamDebug
	StreamVerbose     = api.MessageStreamVerbose
)

// Final reports whether an execution in this state has ended.
func Final(s ExecutionState) bool {
	return s != api.ExecutionStateQueued && s != api.ExecutionStateRunning
}

// Object returns what a record of the stream of objects holds, in the form in which
// GetObjects has it. The record is the sandbox's: what has another form, the script
// has made up, and it is the text that the record has.
func Object(r OutputRecord) OutputObject {
	var o struct {
		TypeName   string
		Interfaces []string
		Value      json.RawMessage
	}
	text := bytes.ToValidUTF8(Bytes(r), []byte("\uFFFD"))
	if err := json.Unmarshal(text, &o); err != nil || o.Value == nil {
		raw, _ := json.Marshal(string(text)) // a string has a JSON form
		return OutputObject{Interfaces: []string{}, Value: raw}
	}
	if o.Interfaces == nil {
		o.Interfaces = []string{}
	}
	return OutputObject{Type: o.TypeName, Interfaces: o.Interfaces, Value: o.Value}
}

// Bytes returns what a record of output holds.
func Bytes(r OutputRecord) []byte {
	if r.Data != nil {
		return []byte(*r.Data)
	}
	return r.DataBase64
}
