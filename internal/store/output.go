package store

import (
	"context"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Bounds of one call of Output.
const (
	defaultOutputBytes = 1 << 20
	maxOutputRecords   = 4096
)

// AppendOutput adds records to an execution of the organization. Their numbers
// are the caller's; one that exists already is a conflict.
func (tx *Tx) AppendOutput(ctx context.Context, org remuda.OrganizationID, id remuda.ExecutionID, records []remuda.OutputRecord) error {
	for _, r := range records {
		data := r.Data
		if data == nil {
			data = []byte{} // nil would be NULL
		}
		_, err := tx.exec(ctx, "adding output",
			"INSERT INTO output_records (organization, execution, seq, stream, data, at) VALUES ($1, $2, $3, $4, $5, $6)",
			string(org), string(id), r.Seq, string(r.Stream), data, unnoted(r.At))
		if err != nil {
			err = tx.conflictError(err, "output record %d of execution %s exists already", r.Seq, id)
			return tx.referenceError(err, remuda.NotFound("execution", string(id)))
		}
	}
	return nil
}

// Output returns records of an execution with numbers above after, in order, as
// many as fit in maxBytes of data (0 is 1 MiB) but at least one if there is one.
// An execution of another organization has none.
func (tx *Tx) Output(ctx context.Context, org remuda.OrganizationID, id remuda.ExecutionID, after int64, maxBytes int) ([]remuda.OutputRecord, error) {
	return tx.output(ctx, maxBytes,
		"SELECT seq, stream, data, at FROM output_records WHERE organization = $1 AND execution = $2 AND seq > $3 ORDER BY seq LIMIT $4",
		string(org), string(id), after, maxOutputRecords)
}

// output reads the records of a query, as many as fit in maxBytes but at least one.
func (tx *Tx) output(ctx context.Context, maxBytes int, query string, args ...any) ([]remuda.OutputRecord, error) {
	const doing = "reading output"
	if maxBytes <= 0 {
		maxBytes = defaultOutputBytes
	}
	ctx, st, err := tx.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return nil, tx.fail(doing, err)
	}
	defer func() { _ = rows.Close() }() // Err reports what matters
	var out []remuda.OutputRecord
	for size := 0; rows.Next(); {
		var r remuda.OutputRecord
		var at int64
		if err := rows.Scan(&r.Seq, &r.Stream, &r.Data, &at); err != nil {
			return nil, tx.fail(doing, err)
		}
		if at != 0 {
			r.At = timeOf(at)
		}
		if r.Data == nil {
			r.Data = []byte{} // drivers differ in what an empty value reads as
		}
		size += len(r.Data)
		if size > maxBytes && len(out) > 0 {
			return out, nil
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, tx.fail(doing, err)
	}
	return out, nil
}

// OutputEnd is the number of the last record of an execution, 0 when there is none,
// and how many bytes of data there are in all.
func (tx *Tx) OutputEnd(ctx context.Context, org remuda.OrganizationID, id remuda.ExecutionID) (last, bytes int64, err error) {
	type end struct{ last, bytes int64 }
	e, err := one(ctx, tx, "reading the end of an output", remuda.NotFound("execution", string(id)),
		func(r scanner) (e end, err error) { return e, r.Scan(&e.last, &e.bytes) },
		"SELECT COALESCE(MAX(seq), 0), COALESCE(SUM(LENGTH(data)), 0) FROM output_records WHERE organization = $1 AND execution = $2", string(org), string(id))
	return e.last, e.bytes, err
}

// unnoted is a time that may be zero, which is stored as 0.
func unnoted(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return micros(t)
}
