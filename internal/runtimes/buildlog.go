package runtimes

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// Bounds of a build's log. Its beginning is kept as it comes, and of what is over
// that, the end: there stands why an installer gave up.
const (
	maxLogHead   = 1 << 20
	maxLogTail   = 64 << 10
	maxLogRecord = 16 << 10
	flushLog     = 100 * time.Millisecond
)

// buildLog collects what a build says, and how its packages are, and stores both
// in pieces. What it shows to others is what is stored: a reader who was told a
// number never meets it again with another content.
type buildLog struct {
	store Store
	org   remuda.OrganizationID

	mu      sync.Mutex
	build   remuda.Build // as it is now; its key says whose log it is
	dirty   bool         // the build has changed since it was stored
	pending []remuda.OutputRecord
	last    int64 // number of the last record, pending ones included
	size    int64 // bytes of the head
	tail    []byte
	cut     int64         // bytes that are in neither
	stored  chan struct{} // closed and replaced when more is stored
}

func newBuildLog(st Store, org remuda.OrganizationID, b remuda.Build, last, size int64) *buildLog {
	return &buildLog{store: st, org: org, build: b, last: last, size: size, stored: make(chan struct{})}
}

// Log implements layer.Progress.
func (l *buildLog) Log(text []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(text)
}

// sayf adds a line of our own.
func (l *buildLog) sayf(format string, args ...any) {
	l.Log(fmt.Appendf(nil, format+"\n", args...))
}

// add takes text as far as the bounds allow. Needs mu.
func (l *buildLog) add(text []byte) {
	if room := maxLogHead - l.size; int64(len(text)) > room {
		l.put(text[:room])
		l.tail = append(l.tail, text[room:]...)
		if over := len(l.tail) - maxLogTail; over > 0 {
			l.cut += int64(over)
			l.tail = append(l.tail[:0], l.tail[over:]...)
		}
		return
	}
	l.put(text)
}

// put makes records of text, and joins it to the last one if that waits. Needs mu.
func (l *buildLog) put(text []byte) {
	l.size += int64(len(text))
	for len(text) > 0 {
		if n := len(l.pending); n == 0 || len(l.pending[n-1].Data) >= maxLogRecord {
			l.last++
			l.pending = append(l.pending, remuda.OutputRecord{Seq: l.last, Stream: remuda.StreamStdout})
		}
		rec := &l.pending[len(l.pending)-1]
		n := min(len(text), maxLogRecord-len(rec.Data))
		rec.Data = append(rec.Data, text[:n]...)
		text = text[n:]
	}
}

// close adds the end of what was over the bounds. Needs mu.
func (l *buildLog) close() {
	if len(l.tail) == 0 {
		return
	}
	if l.cut > 0 {
		l.put(fmt.Appendf(nil, "\n[%d bytes are left out here]\n", l.cut))
	}
	l.put(l.tail)
	l.tail = nil
}

// Package implements layer.Progress.
func (l *buildLog) Package(name string, state remuda.PackageState, resolved, message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	packages := make([]remuda.PackageStatus, len(l.build.Packages)) // others read the old ones
	copy(packages, l.build.Packages)
	for i := range packages {
		p := &packages[i]
		if !samePackage(*p, p.Manager, name) || (p.State != state && !p.State.CanBecome(state)) {
			continue
		}
		p.State = state
		if resolved != "" {
			p.Resolved = resolved
		}
		p.Message = message
		l.dirty = true
	}
	l.build.Packages = packages
}

// snapshot is the build as it is now.
func (l *buildLog) snapshot() remuda.Build {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.build
}

// save writes what is not stored yet. Needs mu, which is held while it is stored,
// so that records are in order.
func (l *buildLog) save(ctx context.Context, tx *store.Tx) error {
	return tx.AppendBuildLog(ctx, l.org, l.build.Key, l.pending)
}

// saved tells the readers that the transaction with save has been committed. Needs
// mu.
func (l *buildLog) saved() {
	l.pending, l.dirty = nil, false
	close(l.stored)
	l.stored = make(chan struct{})
}

// flush stores what there is, if there is something.
func (l *buildLog) flush(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) == 0 && !l.dirty {
		return nil
	}
	err := l.store.Write(ctx, func(tx *store.Tx) error {
		if err := l.save(ctx, tx); err != nil {
			return err
		}
		return tx.UpdateBuild(ctx, l.org, l.build)
	})
	if err == nil {
		l.saved()
	}
	return err
}

// more is closed when more is stored.
func (l *buildLog) more() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stored
}
