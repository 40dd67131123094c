package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
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

// AppendAudit adds entries to the chain of their organization, in the same
// transaction as the change that they are about. Entries of one call belong to
// one organization; Seq and Hash of them are ignored.
func (tx *Tx) AppendAudit(ctx context.Context, entries ...remuda.AuditEntry) error {
	if !tx.writable {
		return remuda.Internal(doingAudit, errors.New("a read must not write"))
	}
	rows := make([]auditRow, len(entries))
	for i, e := range entries {
		details, err := json.Marshal(e.Details) // sorts the keys
		if err != nil {
			return remuda.Internal("encoding an audit entry", err)
		}
		if e.Organization != entries[0].Organization {
			return remuda.Internal(doingAudit, errors.New("entries of several organizations in one call"))
		}
		rows[i] = auditRow{AuditEntry: e, at: micros(e.At), details: string(details)}
	}
	if len(rows) == 0 {
		return nil
	}
	if err := tx.extendChain(ctx, rows); err != nil {
		return err
	}
	if len(rows) == 2 { // what an execution has: one statement costs less than two
		_, err := tx.exec(ctx, doingAudit, insertAudit+", ($11, $12, $13, $14, $15, $16, $17, $18, $19, $20)", append(rows[0].values(), rows[1].values()...)...)
		return err
	}
	for i := range rows {
		if _, err := tx.exec(ctx, doingAudit, insertAudit, rows[i].values()...); err != nil {
			return err
		}
	}
	return nil
}

const insertAudit = "INSERT INTO audit_entries (" + auditColumns + ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"

// values are the row's in the order of auditColumns.
func (r *auditRow) values() []any {
	return []any{string(r.Organization), r.Seq, r.at, string(r.User), r.Action, r.Object, r.Outcome, r.RequestID, r.details, r.Hash}
}

const doingAudit = "adding to the audit log"

// maxHeads bounds the chain ends that are remembered.
const maxHeads = 4096

// extendChain gives rows their numbers and hashes and makes the last one the end
// of the chain.
// The end is remembered between calls and only believed when the update finds
// it, so another server, or a write that was undone, does no harm.
func (tx *Tx) extendChain(ctx context.Context, rows []auditRow) error {
	owner := rows[0].Organization
	org := string(owner)
	last := &rows[len(rows)-1]
	h, known := tx.s.heads[owner]
	for attempt := 0; ; attempt++ {
		if !known {
			var err error
			if h, err = tx.loadHead(ctx, owner); err != nil {
				return err
			}
		}
		seq, hash := h.seq, h.hash
		for i := range rows {
			seq++
			rows[i].Seq = seq
			hash = rows[i].chainHash(hash)
			rows[i].Hash = hash
		}
		n, err := tx.exec(ctx, doingAudit, "UPDATE audit_heads SET seq = $2, hash = $3 WHERE organization = $1 AND seq = $4 AND hash = $5",
			org, last.Seq, last.Hash, h.seq, h.hash)
		if err != nil {
			return err
		}
		if n == 1 {
			break
		}
		if attempt > 8 {
			return remuda.Internal(doingAudit, fmt.Errorf("the end of the chain of %s moves at every attempt", org))
		}
		known = false
	}
	if len(tx.s.heads) >= maxHeads {
		clear(tx.s.heads)
	}
	tx.s.heads[owner] = head{organization: owner, seq: last.Seq, hash: last.Hash}
	return nil
}

// loadHead reads the end of a chain, and makes the first one.
func (tx *Tx) loadHead(ctx context.Context, org remuda.OrganizationID) (head, error) {
	_, err := tx.exec(ctx, doingAudit,
		"INSERT INTO audit_heads (organization, seq, hash) VALUES ($1, 0, '') ON CONFLICT (organization) DO NOTHING", string(org))
	if err != nil {
		return head{}, tx.referenceError(err, remuda.NotFound("organization", string(org)))
	}
	return one(ctx, tx, doingAudit, remuda.NotFound("organization", string(org)), scanHead,
		"SELECT organization, seq, hash FROM audit_heads WHERE organization = $1", string(org))
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
