package store

import "context"

// checkpointAfter is how many changes are committed between two checkpoints. A
// change takes about two pages of journal when it comes alone.
const checkpointAfter = 2048

// checkpoints moves the journal into the main file on a connection of its own,
// while writes go on. The rest that they leave over is moved while they wait,
// which is short, and after which the journal begins anew.
type checkpoints struct {
	c       *conn
	due     chan struct{} // one place; the writer's signal
	stopped chan struct{}
	changes int64 // since the last signal; guarded by Store.writing
}

func (s *Store) startCheckpoints(ctx context.Context) (err error) {
	k := &s.checkpoints
	if k.c, err = s.backend.connect(ctx, true); err != nil {
		return err
	}
	k.due, k.stopped = make(chan struct{}, 1), make(chan struct{})
	go s.runCheckpoints()
	return nil
}

// runCheckpoints is the goroutine of the checkpoints; stop ends it.
func (s *Store) runCheckpoints() {
	k := &s.checkpoints
	defer close(k.stopped)
	for range k.due {
		left, err := s.backend.checkpoint(context.Background(), k.c)
		if err == nil && left > 0 {
			s.writing.Lock()
			_, err = s.backend.checkpoint(context.Background(), k.c)
			s.writing.Unlock()
		}
		if err != nil {
			s.logger.Warn("a checkpoint failed; the journal grows until one succeeds", "error", err)
		}
	}
}

// committed tells the checkpoints about a group.
func (s *Store) committed(changes int64) {
	k := &s.checkpoints
	k.changes += changes
	if k.changes < checkpointAfter {
		return
	}
	k.changes = 0
	select {
	case k.due <- struct{}{}:
	default: // one is under way
	}
}

// stop ends the goroutine. The writer must have ended before.
func (k *checkpoints) stop() error {
	close(k.due)
	<-k.stopped
	return k.c.close()
}
