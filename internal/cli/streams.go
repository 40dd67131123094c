package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/client"
	"github.com/remuda-run/remuda/internal/config"
	"github.com/remuda-run/remuda/internal/remuda"
)

// message is one of a stream, as -o json has it.
type message struct {
	Stream client.MessageStream `json:"stream"`
	client.StreamRecord
}

func (c *command) streamsCommand() *cobra.Command {
	var follow bool
	var last int
	cmd := &cobra.Command{
		Use: "streams EXECUTION [STREAM]", Short: "Print the messages of an execution", Args: cobra.RangeArgs(1, 2),
		Long: "Print what the script of an execution has said through its language's logging: the streams information, error, warning,\n" +
			"debug and verbose, or one of them. It has to be run with --streams; the lines of standard error are in the stream error of\n" +
			"every execution.",
		Example:           "  remuda exec analysis --streams step.py\n  remuda streams ex_06k1x2y3z4a5b6c7d8e9f0g1h2j3k4m5n6p7 warning --last 20\n  remuda streams ex_06k1x2y3z4a5b6c7d8e9f0g1h2j3k4m5n6p7 --follow",
		ValidArgsFunction: c.completeExecution(wordList(remuda.MessageStreams())...),
		RunE: c.remotely(func(ctx context.Context, r *remote, args []string) error {
			streams, err := streamsOf(args[1:])
			switch {
			case err != nil:
				return err
			case last < 0:
				return usageError("--last %d is negative", "give the number of messages of each stream, like --last 20", last)
			case follow && last > 0:
				return usageError("both --follow and --last are given", "give one of them")
			case follow && c.output == outputJSON:
				return usageError("--follow prints text", "leave out -o json, or --follow")
			case follow:
				return c.followStreams(ctx, r, args[0], streams)
			}
			return c.printStreams(ctx, r, args[0], streams, last)
		}),
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the execution has ended")
	cmd.Flags().IntVar(&last, "last", 0, "only so many of the newest of each stream; 0 is all")
	c.addSettings(cmd.Flags(), config.GroupClient)
	return cmd
}

// streamsOf is the stream that was named, or all of them.
func streamsOf(named []string) ([]client.MessageStream, error) {
	if len(named) == 1 && !slices.Contains(remuda.MessageStreams(), remuda.Stream(named[0])) {
		return nil, usageError("%q is no stream of messages", "give one of "+strings.Join(wordList(remuda.MessageStreams()), ", ")+"; standard output is what `remuda exec output` prints", named[0])
	}
	if len(named) == 1 {
		return []client.MessageStream{client.MessageStream(named[0])}, nil
	}
	var all []client.MessageStream
	for _, s := range remuda.MessageStreams() {
		all = append(all, client.MessageStream(s))
	}
	return all, nil
}

func (c *command) printStreams(ctx context.Context, r *remote, id string, streams []client.MessageStream, last int) error {
	list := []message{}
	for _, stream := range streams {
		page := client.MessagePage{Last: last}
		for {
			got, err := r.GetStream(ctx, id, stream, page)
			if err != nil {
				return err
			}
			for _, rec := range got.Records {
				list = append(list, message{stream, rec})
			}
			if len(got.Records) == 0 || got.Ended || last > 0 {
				break
			}
			page.After = got.Next
		}
	}
	slices.SortStableFunc(list, func(a, b message) int { return cmp.Compare(a.Seq, b.Seq) })
	return c.print(map[string]any{"items": list}, func(io.Writer) error {
		w := c.foreignText()
		for _, m := range list {
			if err := m.write(w, len(streams) > 1); err != nil {
				return err
			}
		}
		return nil
	})
}

// followStreams prints messages as they come, until the execution has ended.
func (c *command) followStreams(ctx context.Context, r *remote, id string, streams []client.MessageStream) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	w := c.foreignText()
	failed := make([]error, len(streams))
	var parts sync.WaitGroup
	for i, stream := range streams {
		parts.Go(func() {
			_, failed[i] = r.FollowStream(ctx, id, stream, 0, func(rec client.StreamRecord) error {
				mu.Lock()
				defer mu.Unlock()
				return message{stream, rec}.write(w, len(streams) > 1)
			})
			if failed[i] != nil {
				stop() // one reason is enough
			}
		})
	}
	parts.Wait()
	for _, err := range failed {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return cmp.Or(failed...)
}

// write prints a message: when, in which stream if that is not known, and what. The
// lines after its first are indented as far.
func (m message) write(w io.Writer, named bool) error {
	head := "-              "
	if m.Time != nil {
		head = m.Time.UTC().Format("15:04:05.000000")
	}
	if named {
		head += fmt.Sprintf("  %-11s", m.Stream)
	}
	indent := "\n" + strings.Repeat(" ", len(head)+2)
	_, err := fmt.Fprintf(w, "%s  %s\n", head, strings.ReplaceAll(strings.TrimRight(m.Message, "\n"), "\n", indent))
	return err
}
