package store

import (
	"context"
	"fmt"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
)

// Writer is a store, as whoever writes to it sees it.
type Writer interface {
	Write(ctx context.Context, fn func(*Tx) error) error
}

// Bounds of Insist.
const (
	insistAttempts = 3
	insistWait     = 100 * time.Millisecond // before the second attempt, and more before each later one
	insistTimeout  = 10 * time.Second       // of one attempt
)

// Insist writes fn, and asks a store that cannot write now a few times more. It is for
// what has happened and has to be recorded, whoever waits for it.
func Insist(w Writer, fn func(*Tx) error) error {
	var err error
	for attempt := range insistAttempts {
		if attempt > 0 {
			time.Sleep(time.Duration(attempt) * insistWait)
		}
		ctx, cancel := context.WithTimeout(context.Background(), insistTimeout)
		err = w.Write(ctx, fn)
		cancel()
		if code := remuda.CodeOf(err); err == nil || code == remuda.CodeNotFound || code == remuda.CodeConflict {
			break // asking again changes nothing
		}
	}
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}
