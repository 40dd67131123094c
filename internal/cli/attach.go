package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/remuda-run/remuda/client"
	"github.com/remuda-run/remuda/internal/remuda"
)

// attachFlags are the flags of attach.
type attachFlags struct {
	terminal, key string
	env           []string
}

func (c *command) attachCommand() *cobra.Command {
	f := &attachFlags{}
	cmd := &cobra.Command{
		Use: "attach [flags] RUNSPACE [flags] [--] [COMMAND [ARG...]]", Short: "Open a terminal in a runspace",
		Long: "Open a terminal in a runspace, which is given by name or id: the language's interactive interpreter, or COMMAND. The program runs\n" +
			"beside the scripts, in the same fence; its end is the end of the command, with its exit status. Ctrl-] detaches: the\n" +
			"program runs on, and --terminal connects to it again, as long as the runspace is open. A lost connection is taken up\n" +
			"again within 30 seconds.\n\nStandard input need not be a terminal: at its end the program is told that there is no more (Ctrl-D).",
		Example:           "  remuda attach analysis\n  remuda attach analysis bash\n  echo 'print(6 * 7)' | remuda attach analysis\n  remuda attach analysis --terminal trm_06h0...",
		ValidArgsFunction: c.completeRunspace,
		Args:              cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			rest := args[1:]
			// As with exec: flags end at the runspace, some may come after it.
			if len(rest) > 0 && strings.HasPrefix(rest[0], "-") {
				if err := cmd.Flags().Parse(rest); err != nil {
					if errors.Is(err, pflag.ErrHelp) {
						return cmd.Help()
					}
					return noResult(usageError("%s", "see `remuda attach --help`", err))
				}
				rest = cmd.Flags().Args()
			}
			return noResult(c.attach(cmd.Context(), f, args[0], rest))
		},
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVar(&f.terminal, "terminal", "", "connect to this terminal (`ID`) instead of opening one")
	cmd.Flags().StringVar(&f.key, "detach-key", "]", "the `KEY` that detaches, with Ctrl: a letter or one of [ \\ ] ^ _; none is no key")
	cmd.Flags().StringArrayVarP(&f.env, "env", "e", nil, "environment variable `K=V` of the program (may be repeated)")
	return cmd
}

// detachByte is what a key sends with Ctrl; 0 is no key.
func detachByte(key string) (byte, error) {
	switch {
	case key == "none":
		return 0, nil
	case len(key) == 1 && (key[0] >= 'a' && key[0] <= 'z' || key[0] >= 'A' && key[0] <= '_'):
		return key[0] & 0x1f, nil
	default:
		return 0, usageError("--detach-key %q is no key that can be pressed with Ctrl", "give a letter, one of [ \\ ] ^ _, or none", key)
	}
}

// attach opens a terminal, or finds one, and is it until it ends.
func (c *command) attach(ctx context.Context, f *attachFlags, ref string, command []string) error {
	key, err := detachByte(f.key)
	if err != nil {
		return err
	}
	if f.terminal != "" && (len(command) > 0 || len(f.env) > 0) {
		return usageError("--terminal connects to a program that runs already", "leave out the command and --env, or --terminal")
	}
	env, err := c.readEnv(f.env)
	if err != nil {
		return err
	}
	remote, err := c.remote()
	if err != nil {
		return err
	}
	rs, err := remote.findRunspace(ctx, ref)
	if err != nil {
		return err
	}
	t := &attached{command: c, remote: remote, runspace: ref, key: key}
	if f, ok := c.Stdin.(*os.File); ok && isTerminal(f) {
		t.tty = f
	}
	rows, cols := t.size()
	if f.terminal == "" {
		in := client.TerminalCreate{Command: command, Env: env}
		if rows > 0 {
			in.Rows, in.Cols = &rows, &cols
		}
		opened, err := remote.OpenTerminal(ctx, rs.Id, in)
		if err != nil {
			return err
		}
		t.id, t.ticket = opened.Terminal.Id, opened.Ticket
	} else {
		found, err := remote.GetTerminal(ctx, f.terminal)
		if err == nil && found.Runspace != rs.Id {
			err = remuda.NotFound("terminal of runspace "+ref, f.terminal)
		}
		if err != nil {
			return err
		}
		ticket, err := remote.CreateTerminalTicket(ctx, f.terminal)
		if err != nil {
			return err
		}
		t.id, t.ticket = f.terminal, ticket.Ticket
	}
	return t.run(ctx)
}

// attached is a terminal that we are connected to.
type attached struct {
	*command

	remote   *remote
	runspace string // as the user calls it
	id       string
	ticket   string // for the next connection
	key      byte   // that detaches; 0 is none
	tty      *os.File

	mu   sync.Mutex
	conn *client.TerminalConn // nil while there is none
}

// errDetached is how the user leaves a terminal that runs on.
var errDetached = errors.New("detached")

// size is that of our own terminal; 0 without one.
func (t *attached) size() (rows, cols int) {
	if t.tty == nil {
		return 0, 0
	}
	cols, rows, err := term.GetSize(int(t.tty.Fd()))
	if err != nil || rows < 1 || cols < 1 {
		return 0, 0
	}
	return min(rows, remuda.MaxTerminalSide), min(cols, remuda.MaxTerminalSide)
}

// run is the terminal until its program ends or the user leaves.
func (t *attached) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if t.tty != nil {
		before, err := term.MakeRaw(int(t.tty.Fd()))
		if err != nil {
			return fmt.Errorf("make the terminal raw: %w", err)
		}
		defer func() { _ = term.Restore(int(t.tty.Fd()), before) }()
	}
	var parts sync.WaitGroup
	input, err := newInput(t.Stdin)
	if err != nil {
		return err
	}
	defer input.close()
	parts.Go(func() { t.read(ctx, input, cancel) })
	parts.Go(func() { t.watchSize(ctx) })
	err = t.show(ctx)
	cancel(nil)
	input.stop()
	parts.Wait()
	return t.explain(ctx, err)
}

// explain says how it ended.
func (t *attached) explain(ctx context.Context, err error) error {
	exit, ended := errors.AsType[*client.ExitError](err)
	switch {
	case ended && exit.Code == 0:
		return nil
	case ended:
		return exitStatus(exit.Code)
	case ctx.Err() != nil && (errors.Is(context.Cause(ctx), errDetached) || errors.As(context.Cause(ctx), new(signalError))):
		fmt.Fprintf(t.Stderr, "\r\ndetached; the program runs on: remuda attach %s --terminal %s\r\n", t.runspace, t.id)
		return nil
	default:
		return err
	}
}

// retryTime is how long a lost connection is tried again: what its ticket lives.
const retryTime = 30 * time.Second

// show writes what the program shows, over as many connections as it takes.
func (t *attached) show(ctx context.Context) error {
	var lost time.Time
	seen := int64(0) // bytes of what the program ever showed
	for {
		err := t.once(ctx, &seen, &lost)
		_, ended := errors.AsType[*client.ExitError](err)
		_, refused := errors.AsType[*client.Problem](err)
		if ended || refused && !client.IsCode(err, "unavailable") || ctx.Err() != nil {
			return err
		}
		if lost.IsZero() {
			lost = time.Now()
			fmt.Fprintf(t.Stderr, "\r\nthe connection is lost; trying again\r\n")
		}
		if time.Since(lost) > retryTime {
			return err
		}
		pause(ctx, 500*time.Millisecond)
	}
}

// once is one connection. seen is the position after the last byte that was
// written: what comes again is left out.
func (t *attached) once(ctx context.Context, seen *int64, lost *time.Time) error {
	rows, cols := t.size()
	conn, err := t.remote.ConnectTerminal(ctx, t.id, t.ticket, rows, cols)
	if err != nil {
		return err
	}
	t.ticket, *lost = conn.Resume, time.Time{}
	t.set(conn)
	defer func() {
		t.set(nil)
		_ = conn.Close()
	}()
	at := conn.Skipped
	p := make([]byte, 32<<10)
	for {
		n, err := conn.Read(ctx, p)
		fresh := p[:n]
		if again := *seen - at; again > 0 {
			fresh = p[min(int64(n), again):n]
		}
		at += int64(n)
		*seen = max(*seen, at)
		if _, err := t.Stdout.Write(fresh); err != nil {
			return fmt.Errorf("write what the terminal shows: %w", err)
		}
		if err != nil {
			return err
		}
	}
}

func (t *attached) set(conn *client.TerminalConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conn = conn
}

// write types p, if there is a connection: what is typed while there is none is lost,
// as it would be on a line that is down.
func (t *attached) write(ctx context.Context, p []byte) bool {
	t.mu.Lock()
	conn := t.conn
	t.mu.Unlock()
	return conn != nil && conn.Write(ctx, p) == nil
}

// endOfInput is Ctrl-D, and endAgain how often it is said: a program that just
// begins to read the terminal in its own way may not hear it.
const (
	endOfInput = 4
	endAgain   = time.Second
)

// read types what comes from standard input.
func (t *attached) read(ctx context.Context, input *input, leave context.CancelCauseFunc) {
	p := make([]byte, 4096)
	for ctx.Err() == nil {
		n, err := input.Read(p)
		for i := 0; t.tty != nil && t.key != 0 && i < n; i++ {
			if p[i] == t.key {
				t.write(ctx, p[:i])
				leave(errDetached)
				return
			}
		}
		t.deliver(ctx, p[:n])
		for err != nil && ctx.Err() == nil {
			t.deliver(ctx, []byte{endOfInput})
			pause(ctx, endAgain)
		}
	}
}

// deliver types p. What does not come from a terminal, where a person would see
// that it is lost, waits for the connection.
func (t *attached) deliver(ctx context.Context, p []byte) {
	for len(p) > 0 && !t.write(ctx, p) && t.tty == nil && ctx.Err() == nil {
		pause(ctx, 20*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// watchSize passes on the size of our terminal when it changes.
func (t *attached) watchSize(ctx context.Context) {
	if t.tty == nil {
		return
	}
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH)
	defer signal.Stop(changed)
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		t.mu.Lock()
		conn := t.conn
		t.mu.Unlock()
		if rows, cols := t.size(); conn != nil && rows > 0 {
			_ = conn.Resize(ctx, rows, cols) // a connection that is lost shows at reading
		}
	}
}
