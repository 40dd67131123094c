package store

import (
	"context"
	"slices"

	"github.com/remuda-run/remuda/internal/remuda"
)

// StreamOutput returns the records of one or two streams of an execution, as Output
// does those of all.
func (tx *Tx) StreamOutput(ctx context.Context, org remuda.OrganizationID, id remuda.ExecutionID, streams [2]remuda.Stream, after int64, maxBytes int) ([]remuda.OutputRecord, error) {
	return tx.output(ctx, maxBytes,
		"SELECT seq, stream, data, at FROM output_records WHERE organization = $1 AND execution = $2 AND seq > $3 AND stream IN ($4, $5) ORDER BY seq LIMIT $6",
		string(org), string(id), after, string(streams[0]), string(streams[1]), maxOutputRecords)
}

// StreamOutputBefore returns the newest of those records with numbers below before,
// at most count and as many as fit in maxBytes, but at least one if there is one. They
// are in order.
func (tx *Tx) StreamOutputBefore(ctx context.Context, org remuda.OrganizationID, id remuda.ExecutionID, streams [2]remuda.Stream, before int64, count, maxBytes int) ([]remuda.OutputRecord, error) {
	out, err := tx.output(ctx, maxBytes,
		"SELECT seq, stream, data, at FROM output_records WHERE organization = $1 AND execution = $2 AND seq < $3 AND stream IN ($4, $5) ORDER BY seq DESC LIMIT $6",
		string(org), string(id), before, string(streams[0]), string(streams[1]), min(count, maxOutputRecords))
	slices.Reverse(out)
	return out, err
}

// LastOutput is the number of the last record of an execution, 0 if it has none.
func (tx *Tx) LastOutput(ctx context.Context, org remuda.OrganizationID, id remuda.ExecutionID) (int64, error) {
	out, err := tx.output(ctx, 1,
		"SELECT seq, stream, data, at FROM output_records WHERE organization = $1 AND execution = $2 ORDER BY seq DESC LIMIT 1", string(org), string(id))
	if err != nil || len(out) == 0 {
		return 0, err
	}
	return out[0].Seq, nil
}
