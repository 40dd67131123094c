// Package audit makes entries for the audit log and reads it for administrators.
//
// Services append an entry inside the transaction of the change it is about
// (store.Tx.AppendAudit); this package only builds it, so that details of
// whatever type never carry a secret into it. The chain of hashes is the store's.
//
// Start with Entry.
package audit
