package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"strconv"

	"github.com/remuda-run/remuda/internal/remuda"
)

const auditColumns = "organization, seq, at, user_id, action, object, outcome, request_id, details, hash"

// auditRow is an entry as stored: details are the exact text that was hashed.
type auditRow struct {
	remuda.AuditEntry
	at      int64
	details string
}

// chainHash is the hash of an entry: SHA-256 over a version, the hash before it
// and every field, each preceded by its length so that no two entries have the
// same encoding.
func (r *auditRow) chainHash(previous string) string {
	h := sha256.New()
	for _, field := range []string{
		"remuda audit 1", previous, string(r.Organization), strconv.FormatInt(r.Seq, 10), strconv.FormatInt(r.at, 10),
		string(r.User), r.Action, r.Object, r.Outcome, r.RequestID, r.details,
	} {
		hashField(h, field)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func hashField(h hash.Hash, s string) {
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(s)))
	_, _ = h.Write(length[:]) // a hash never fails
	_, _ = h.Write([]byte(s))
}

func scanAudit(r scanner) (row auditRow, err error) {
	err = r.Scan(&row.Organization, &row.Seq, &row.at, &row.User, &row.Action, &row.Object, &row.Outcome, &row.RequestID, &row.details, &row.Hash)
	row.At = timeOf(row.at)
	return row, err
}

// head is the end of an organization's chain.
type head struct {
	organization remuda.OrganizationID
	seq          int64
	hash         string
}

func scanHead(r scanner) (h head, err error) {
	err = r.Scan(&h.organization, &h.seq, &h.hash)
	return h, err
}

// AppendAudit adds an entry to the chain of its organization, in the same
// transaction as the change that it is about. Seq and Hash of e are ignored.
func (tx *Tx) AppendAudit(ctx context.Context, e remuda.AuditEntry) error {
	details, err := json.Marshal(e.Details) // sorts the keys
	if err != nil {
		return remuda.Internal("encoding an audit entry", err)
	}
	if !tx.writable {
		return remuda.Internal("adding to the audit log", fmt.Errorf("a read must not write"))
	}
	// The head's row is locked by this until the commit; its hash is still the
	// one of the entry before.
	h, err := one(ctx, tx, "adding to the audit log", nil, scanHead,
		`INSERT INTO audit_heads (organization, seq, hash) VALUES ($1, 1, '')
		ON CONFLICT (organization) DO UPDATE SET seq = audit_heads.seq + 1 RETURNING organization, seq, hash`, string(e.Organization))
	if err != nil {
		return tx.referenceError(err, remuda.NotFound("organization", string(e.Organization)))
	}
	row := auditRow{AuditEntry: e, at: micros(e.At), details: string(details)}
	row.Seq = h.seq
	row.Hash = row.chainHash(h.hash)
	_, err = tx.exec(ctx, "adding to the audit log",
		"INSERT INTO audit_entries ("+auditColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		string(e.Organization), row.Seq, row.at, string(e.User), e.Action, e.Object, e.Outcome, e.RequestID, row.details, row.Hash)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, "adding to the audit log", "UPDATE audit_heads SET hash = $2 WHERE organization = $1", string(e.Organization), row.Hash)
	return err
}

// Audit lists the entries of an organization, newest first.
func (tx *Tx) Audit(ctx context.Context, org remuda.OrganizationID, page remuda.Page) ([]remuda.AuditEntry, string, error) {
	before, limit, err := seqPageOf(page)
	if err != nil {
		return nil, "", err
	}
	rows, err := all(ctx, tx, "listing the audit log", scanAudit,
		"SELECT "+auditColumns+" FROM audit_entries WHERE organization = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3", string(org), before, limit+1)
	if err != nil {
		return nil, "", err
	}
	rows, next := cut(rows, limit, func(r auditRow) string { return strconv.FormatInt(r.Seq, 10) })
	out := make([]remuda.AuditEntry, len(rows))
	for i, r := range rows {
		out[i] = r.AuditEntry
		if err := json.Unmarshal([]byte(r.details), &out[i].Details); err != nil {
			return nil, "", remuda.Internal("reading the audit log", fmt.Errorf("decode details: %w", err))
		}
	}
	return out, next, nil
}
