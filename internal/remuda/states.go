package remuda

import "slices"

// State tables as in design.md section 1. A change of state that is not in its
// table is a bug; docs/states.md draws them.

// RunspaceState is where a runspace is in its life.
type RunspaceState string

// States of a runspace.
const (
	RunspaceCreating RunspaceState = "creating"
	RunspaceReady    RunspaceState = "ready"
	RunspaceActive   RunspaceState = "active"
	RunspaceClosed   RunspaceState = "closed"
	RunspaceError    RunspaceState = "error"
)

// ExecutionState is where an execution is in its life.
type ExecutionState string

// States of an execution.
const (
	ExecutionQueued   ExecutionState = "queued"
	ExecutionRunning  ExecutionState = "running"
	ExecutionSuccess  ExecutionState = "success"
	ExecutionError    ExecutionState = "error"
	ExecutionTimeout  ExecutionState = "timeout"
	ExecutionCanceled ExecutionState = "canceled"
	ExecutionLost     ExecutionState = "lost"
)

// InstanceState is where an instance is in its life.
type InstanceState string

// States of an instance.
const (
	InstanceCreating InstanceState = "creating"
	InstanceReady    InstanceState = "ready"
	InstanceActive   InstanceState = "active"
	InstanceStopped  InstanceState = "stopped"
	InstanceError    InstanceState = "error"
)

var runspaceMoves = map[RunspaceState][]RunspaceState{
	RunspaceCreating: {RunspaceReady, RunspaceError, RunspaceClosed},
	RunspaceReady:    {RunspaceActive, RunspaceCreating, RunspaceClosed, RunspaceError}, // creating again: a reset
	RunspaceActive:   {RunspaceReady, RunspaceCreating, RunspaceClosed, RunspaceError},
}

var executionMoves = map[ExecutionState][]ExecutionState{
	ExecutionQueued:  {ExecutionRunning, ExecutionError, ExecutionTimeout, ExecutionCanceled, ExecutionLost},
	ExecutionRunning: {ExecutionSuccess, ExecutionError, ExecutionTimeout, ExecutionCanceled, ExecutionLost},
}

// A build that is not recorded yet is RuntimeUnknown: the first status of most is
// their last.
var buildMoves = map[RuntimeStatus][]RuntimeStatus{
	RuntimeUnknown: {RuntimeBusy, RuntimeReady},
	RuntimeBusy:    {RuntimeReady, RuntimeError},
}

var packageMoves = map[PackageState][]PackageState{
	PackageUnknown:    {PackageInstalling, PackageInstalled, PackageNotInstalled},
	PackageInstalling: {PackageInstalled, PackageNotInstalled, PackageUnknown},
}

var instanceMoves = map[InstanceState][]InstanceState{
	InstanceCreating: {InstanceReady, InstanceError, InstanceStopped},
	InstanceReady:    {InstanceActive, InstanceStopped, InstanceError},
	InstanceActive:   {InstanceStopped, InstanceError},
}

// Final reports whether no further change can come.
func (s RunspaceState) Final() bool { return len(runspaceMoves[s]) == 0 }

// CanBecome reports whether the table allows the change.
func (s RunspaceState) CanBecome(next RunspaceState) bool { return allowed(runspaceMoves, s, next) }

// Final reports whether no further change can come.
func (s ExecutionState) Final() bool { return len(executionMoves[s]) == 0 }

// CanBecome reports whether the table allows the change.
func (s ExecutionState) CanBecome(next ExecutionState) bool { return allowed(executionMoves, s, next) }

// Final reports whether no further change can come.
func (s InstanceState) Final() bool { return len(instanceMoves[s]) == 0 }

// CanBecome reports whether the table allows the change.
func (s InstanceState) CanBecome(next InstanceState) bool { return allowed(instanceMoves, s, next) }

// Final reports whether no further change can come.
func (s RuntimeStatus) Final() bool { return len(buildMoves[s]) == 0 }

// CanBecome reports whether the table allows the change.
func (s RuntimeStatus) CanBecome(next RuntimeStatus) bool { return allowed(buildMoves, s, next) }

// Final reports whether no further change can come.
func (s PackageState) Final() bool { return len(packageMoves[s]) == 0 }

// CanBecome reports whether the table allows the change. A build that is begun
// again makes its packages unknown again.
func (s PackageState) CanBecome(next PackageState) bool { return allowed(packageMoves, s, next) }

func allowed[S comparable](moves map[S][]S, from, to S) bool {
	return slices.Contains(moves[from], to)
}
