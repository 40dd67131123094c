package bench

import (
	"bufio"
	"context"
	_ "embed" // the loop's program
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

//go:embed bareloop.py
var bareLoopProgram []byte

// bareLoop is one template of the bare loop for each core.
type bareLoop struct {
	templates []*conversation
}

// conversation is a helper program that answers each line with a line.
type conversation struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errors strings.Builder
}

// converse starts a helper in dir, where nothing lies that it could import by
// mistake, and waits for its first line, which must be "ready".
func converse(ctx context.Context, dir string, env []string, argv ...string) (*conversation, error) {
	c := &conversation{cmd: exec.CommandContext(ctx, argv[0], argv[1:]...)}
	c.cmd.Dir = dir
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stderr = &c.errors
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	line, err := c.out.ReadString('\n')
	if err != nil || line != "ready\n" {
		c.end()
		return nil, fmt.Errorf("%s does not start: %s", filepath.Base(argv[0]), lastLine(c.errors.String()))
	}
	return c, nil
}

// ask sends an order and scans the answer into fields.
func (c *conversation) ask(order string, fields ...any) error {
	if _, err := fmt.Fprintln(c.in, order); err != nil {
		return fmt.Errorf("order %q: %w", order, err)
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.end() // and with it the copying of what it said about that
		return fmt.Errorf("no answer to %q (%w): %s", order, err, lastLine(c.errors.String()))
	}
	if _, err := fmt.Sscan(line, fields...); err != nil {
		return fmt.Errorf("answer %q to %q: %w", line, order, err)
	}
	return nil
}

// end has the helper end by itself, and waits for it.
func (c *conversation) end() {
	_ = c.in.Close()
	_ = c.cmd.Wait()
}

// startBareLoop starts a template for each core, with modules imported.
func startBareLoop(ctx context.Context, dir, line string, modules ...string) (*bareLoop, error) {
	program := filepath.Join(dir, "bareloop.py")
	if err := os.WriteFile(program, bareLoopProgram, 0o600); err != nil {
		return nil, fmt.Errorf("write the bare loop: %w", err)
	}
	b := &bareLoop{}
	for range runtime.NumCPU() {
		c, err := converse(ctx, dir, nil, append([]string{python, "-I", "-S", program, line}, modules...)...)
		if err != nil {
			b.close()
			return nil, fmt.Errorf("bare loop: %w", err)
		}
		b.templates = append(b.templates, c)
	}
	return b, nil
}

// forks is what the templates did together in answer to one order.
type forks struct {
	n      int
	took   time.Duration // of the slowest
	median time.Duration // of one fork, worst template
}

func (f forks) perSecond() float64 {
	if f.took <= 0 {
		return 0
	}
	return float64(f.n) / f.took.Seconds()
}

func (b *bareLoop) order(text string) (forks, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var all forks
	var failed error
	for _, t := range b.templates {
		wg.Go(func() {
			var n, median, late int64
			var seconds float64
			err := t.ask(text, &n, &seconds, &median, &late)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			all.n += int(n)
			all.took = max(all.took, time.Duration(seconds*float64(time.Second)))
			all.median = max(all.median, time.Duration(median)*time.Microsecond)
		})
	}
	wg.Wait()
	return all, failed
}

// seconds has every template fork for a while.
func (b *bareLoop) seconds(n float64) (forks, error) { return b.order(fmt.Sprintf("seconds %g", n)) }

// count has the templates fork n times together.
func (b *bareLoop) count(n int) (forks, error) {
	each := (n + len(b.templates) - 1) / len(b.templates)
	return b.order(fmt.Sprintf("count %d", each))
}

func (b *bareLoop) close() {
	for _, t := range b.templates {
		t.end()
	}
}
