package local

import (
	"bufio"
	"fmt"
	"log/slog"
	"os"
)

// lastWords is the pipe that keepers and the launcher have as stderr: what they
// say there, they say when they break.
type lastWords struct {
	r, w *os.File
	done chan struct{}
}

func newLastWords(log *slog.Logger) (*lastWords, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe for what keepers say: %w", err)
	}
	l := &lastWords{r: r, w: w, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			log.Warn("a sandbox's keeper said", "line", lines.Text())
		}
	}()
	return l, nil
}

func (l *lastWords) fd() int { return int(l.w.Fd()) }

func (l *lastWords) close() {
	_ = l.w.Close()
	_ = l.r.Close() // keepers that live on hold the other end
	<-l.done
}
