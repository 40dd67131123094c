// Package srs is the door for clients of VMware Script Runtime Service for vSphere
// 1.0: runspaces and script executions, on the same objects as every other door.
// api/compat/srs.yaml says what it does, field by field; docs/srs.md shows how it is
// used. Start with routes.go.
package srs
