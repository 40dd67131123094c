package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/remuda-run/remuda/internal/remuda"
)

// verifyPage is how many audit entries are checked in one snapshot; a longer one
// would keep the journal from being reused.
const verifyPage = 1000

// VerifyAudit recomputes the audit chain of every organization. The error says
// where the first one that was altered breaks: an entry that was edited,
// removed, added or moved.
//
// Whoever can write the database can also compute a whole new chain; to notice
// that, keep the hash of the newest entry somewhere else.
func (s *Store) VerifyAudit(ctx context.Context) error {
	_, err := s.verifyChains(ctx)
	return err
}

// AuditEnd is the newest entry of an organization's audit log.
type AuditEnd struct {
	Organization remuda.OrganizationID `json:"organization"`
	Entries      int64                 `json:"entries"` // its number
	Hash         string                `json:"hash"`    // "" of an empty log
}

// VerifyFile is VerifyAudit for the file of a server that may be running or not.
// It changes nothing in it, not the schema either, and says where each log ends.
func VerifyFile(ctx context.Context, path string) ([]AuditEnd, error) {
	if _, err := os.Stat(path); err != nil { // would be made
		return nil, openError(path, err)
	}
	b, err := openSQLite(ctx, path, DurabilityMachine)
	if err != nil {
		return nil, err
	}
	s := &Store{backend: b, logger: slog.New(slog.DiscardHandler), readers: make(chan *conn, 1)}
	s.readers <- nil
	ends, err := s.verifyChains(ctx)
	if c := <-s.readers; c != nil {
		err = errors.Join(err, c.close())
	}
	return ends, errors.Join(err, b.close())
}

func (s *Store) verifyChains(ctx context.Context) ([]AuditEnd, error) {
	var ends []chainEnd
	err := s.Read(ctx, func(tx *Tx) (err error) {
		// The recorded and the true ends of all chains, in one snapshot.
		// Organizations without a recorded end have seq 0.
		ends, err = all(ctx, tx, "reading the audit log", scanEnd,
			`SELECT o.id, coalesce(h.seq, 0), coalesce(h.hash, ''),
				(SELECT coalesce(max(e.seq), 0) FROM audit_entries e WHERE e.organization = o.id)
			FROM organizations o LEFT JOIN audit_heads h ON h.organization = o.id ORDER BY o.id`)
		return err
	})
	if err != nil {
		return nil, err
	}
	verified := make([]AuditEnd, 0, len(ends))
	for _, end := range ends {
		if err := s.verifyChain(ctx, end.head); err != nil {
			return nil, err
		}
		if end.last > end.seq {
			return nil, altered(end.organization, end.seq+1, fmt.Sprintf("the log must end with entry %d", end.seq))
		}
		verified = append(verified, AuditEnd{Organization: end.organization, Entries: end.seq, Hash: end.hash})
	}
	return verified, nil
}

// chainEnd is the recorded end of a chain and the number of its last entry.
type chainEnd struct {
	head
	last int64
}

func scanEnd(r scanner) (e chainEnd, err error) {
	err = r.Scan(&e.organization, &e.seq, &e.hash, &e.last)
	return e, err
}

// verifyChain checks the entries of an organization up to its head.
func (s *Store) verifyChain(ctx context.Context, h head) error {
	at := head{organization: h.organization}
	for at.seq < h.seq {
		var rows []auditRow
		err := s.Read(ctx, func(tx *Tx) (err error) {
			rows, err = all(ctx, tx, "reading the audit log", scanAudit,
				"SELECT "+auditColumns+" FROM audit_entries WHERE organization = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4",
				string(h.organization), at.seq, h.seq, verifyPage)
			return err
		})
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return altered(h.organization, at.seq+1, "the entry is missing")
		}
		for i := range rows {
			if err := at.follow(&rows[i]); err != nil {
				return err
			}
		}
	}
	if at.hash != h.hash {
		return altered(h.organization, h.seq, "the recorded end of the log has another hash")
	}
	return nil
}

// follow moves the head over the next entry, if it is the one that must come.
func (h *head) follow(r *auditRow) error {
	if r.Seq != h.seq+1 {
		return altered(h.organization, h.seq+1, "the entry is missing")
	}
	if r.chainHash(h.hash) != r.Hash {
		return altered(h.organization, r.Seq, "its content does not give its hash")
	}
	h.seq, h.hash = r.Seq, r.Hash
	return nil
}

func altered(org remuda.OrganizationID, seq int64, cause string) error {
	return &remuda.Error{
		Code:    remuda.CodePrecondition,
		Message: fmt.Sprintf("the audit log of organization %s was altered at entry %d", org, seq),
		Cause:   cause,
		Remedy:  "entries before this one can be trusted; compare the rest with a backup",
	}
}
