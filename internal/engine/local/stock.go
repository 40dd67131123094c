package local

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// stock keeps blanks ready and makes new ones in the background.
type stock struct {
	log  *slog.Logger
	make func(context.Context) (*blank, error)
	size int
	era  func() int // blanks of an earlier one are of no use

	destroy func(*blank, context.Context) error

	ready  chan *blank
	wanted chan struct{} // capacity size: how many are to be made
	start  sync.Once
	cancel context.CancelFunc // ends the maker
	maker  sync.WaitGroup

	mu      sync.Mutex
	closed  bool           // close waits for what is destroyed, and for nothing new
	useless sync.WaitGroup // blanks that are being destroyed
}

func newStock(size int, log *slog.Logger, maker func(context.Context) (*blank, error), era func() int) *stock {
	return &stock{
		log: log, make: maker, size: size, era: era, destroy: (*blank).destroy, cancel: func() {},
		ready: make(chan *blank, size), wanted: make(chan struct{}, size),
	}
}

// fill begins to make the stock. It may be called again.
func (s *stock) fill() {
	s.start.Do(func() {
		for range s.size {
			s.wanted <- struct{}{}
		}
		ctx, cancel := context.WithCancel(context.Background())
		s.cancel = cancel
		s.maker.Go(func() { s.run(ctx) })
	})
}

// run makes what is wanted, one at a time.
func (s *stock) run(ctx context.Context) {
	const atMost = time.Minute
	pause := time.Second
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wanted:
		}
		b, err := s.make(ctx)
		if err == nil {
			pause = time.Second
			s.ready <- b // has room: one was wanted
			continue
		}
		s.wanted <- struct{}{} // has room: it came from there
		if ctx.Err() != nil {
			return
		}
		s.log.Error("no blank could be made", "error", err, "again_in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, atMost)
	}
}

// take returns a blank, from stock if there is one; replace has to follow.
// Somebody waits for it, so what it finds useless is destroyed meanwhile.
func (s *stock) take(ctx context.Context) (*blank, error) {
	for {
		select {
		case b := <-s.ready:
			alive := b.alive()
			if alive && b.era == s.era() {
				b.from = s
				return b, nil
			}
			s.wanted <- struct{}{} // has room: b's is free
			if !alive {
				s.log.Warn("a blank had ended before its use", "pid", b.proc.pid)
			}
			s.discard(b)
		default:
			return s.make(ctx)
		}
	}
}

// replace lets another be made for a blank that was taken from stock. Whoever
// took it has what it is for by then, and shares the processor with nobody until
// then.
func (b *blank) replace() {
	if s := b.from; s != nil {
		b.from = nil
		s.wanted <- struct{}{} // has room: b's is free
	}
}

// discard destroys a blank in the background; after close at once.
func (s *stock) discard(b *blank) {
	end := func() {
		if err := s.destroy(b, context.Background()); err != nil {
			s.log.Error("a blank that was not used could not be removed", "error", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		end()
		return
	}
	s.useless.Go(end)
}

// close ends the maker and destroys the stock.
func (s *stock) close() error {
	s.start.Do(func() {}) // fill does nothing from here on
	s.cancel()
	s.maker.Wait()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.useless.Wait()
	var errs []error
	for {
		select {
		case b := <-s.ready:
			errs = append(errs, s.destroy(b, context.Background()))
		default:
			return errors.Join(errs...)
		}
	}
}
