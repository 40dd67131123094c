package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

func testStreamOutput(in subject) {
	f := newFixture(in.t, in.b)
	e := newExecution(f.org)
	at := time.Date(2026, 11, 22, 10, 0, 0, 123_000, time.UTC)
	records := []remuda.OutputRecord{
		{Seq: 1, Stream: remuda.StreamStdout, Data: []byte("out")},
		{Seq: 2, Stream: remuda.StreamStderr, Data: []byte("err"), At: at},
		{Seq: 3, Stream: remuda.StreamWarning, Data: []byte("w1"), At: at},
		{Seq: 4, Stream: remuda.StreamError, Data: []byte("e1"), At: at},
		{Seq: 5, Stream: remuda.StreamWarning, Data: []byte("w2")},
		{Seq: 6, Stream: remuda.StreamStdout, Data: []byte("end")},
	}
	f.write(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertExecution(ctx, e), tx.AppendOutput(ctx, f.org, e.ID, records))
	})
	errs := [2]remuda.Stream{remuda.StreamError, remuda.StreamStderr}
	warnings := [2]remuda.Stream{remuda.StreamWarning, remuda.StreamWarning}
	pick := func(numbers ...int) (list []remuda.OutputRecord) {
		for _, n := range numbers {
			list = append(list, records[n-1])
		}
		return list
	}
	f.read(func(ctx context.Context, tx *store.Tx) error {
		var trouble error
		for _, c := range []struct {
			streams  [2]remuda.Stream
			after    int64
			maxBytes int
			want     []remuda.OutputRecord
		}{
			{errs, 0, 0, pick(2, 4)}, {errs, 2, 0, pick(4)}, {errs, 0, 3, pick(2)}, {warnings, 0, 0, pick(3, 5)}, {warnings, 5, 0, nil},
		} {
			got, err := tx.StreamOutput(ctx, f.org, e.ID, c.streams, c.after, c.maxBytes)
			same(in.t, got, c.want)
			trouble = errors.Join(trouble, err)
		}
		for _, c := range []struct {
			streams  [2]remuda.Stream
			before   int64
			count    int
			maxBytes int
			want     []remuda.OutputRecord
		}{
			{errs, 99, 10, 0, pick(2, 4)}, {errs, 4, 10, 0, pick(2)}, {warnings, 99, 1, 0, pick(5)}, {warnings, 99, 9, 1, pick(5)}, {warnings, 3, 9, 0, nil},
		} {
			got, err := tx.StreamOutputBefore(ctx, f.org, e.ID, c.streams, c.before, c.count, c.maxBytes)
			same(in.t, got, c.want)
			trouble = errors.Join(trouble, err)
		}
		last, err := tx.LastOutput(ctx, f.org, e.ID)
		same(in.t, last, int64(6))
		none, err2 := tx.LastOutput(ctx, f.org, remuda.NewExecutionID())
		same(in.t, none, int64(0))
		return errors.Join(trouble, err, err2)
	})
}
