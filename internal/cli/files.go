package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/internal/remuda"
)

func (c *command) filesCommand() *cobra.Command {
	return group("files", "Files of a runspace's workspace", c.filesList(), c.filesGet(), c.filesPut(), c.filesRemove())
}

func (c *command) filesList() *cobra.Command {
	return &cobra.Command{
		Use: "ls RUNSPACE [PATH]", Short: "List a directory of the workspace", Args: cobra.RangeArgs(1, 2),
		RunE: c.remotely(func(ctx context.Context, remote *remote, args []string) error {
			rs, err := remote.findRunspace(ctx, args[0])
			if err != nil {
				return err
			}
			dir := ""
			if len(args) == 2 {
				dir = args[1]
			}
			list, err := remote.ListFiles(ctx, rs.Id, dir)
			if err != nil {
				return err
			}
			return c.print(list, func(w io.Writer) error {
				t := newTable("MODE", "SIZE", "MODIFIED", "TYPE", "PATH")
				for _, f := range list.Items {
					t.add(f.Mode, strconv.FormatInt(f.Size, 10), ago(time.Now(), f.ModifiedAt), string(f.Type), f.Path)
				}
				return t.write(w)
			})
		}),
	}
}

func (c *command) filesGet() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "get RUNSPACE PATH [LOCAL|-]", Short: "Copy a file out of the workspace; - is standard output", Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			remote, err := c.remote()
			if err != nil {
				return err
			}
			rs, err := remote.findRunspace(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			content, err := remote.ReadFile(cmd.Context(), rs.Id, args[1])
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, content.Close()) }()
			local := path.Base(args[1])
			if len(args) == 3 {
				local = args[2]
			}
			if local == "-" {
				_, err = io.Copy(c.Stdout, content)
				return err
			}
			if info, statErr := os.Stat(local); statErr == nil && info.IsDir() {
				local = filepath.Join(local, path.Base(args[1]))
			}
			f, err := createNew(local, force)
			if err != nil {
				return err
			}
			_, err = io.Copy(f, content)
			return errors.Join(err, f.Close())
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "overwrite a file that is there")
	return cmd
}

func (c *command) filesPut() *cobra.Command {
	return &cobra.Command{
		Use: "put RUNSPACE LOCAL|- [PATH]", Short: "Copy a file into the workspace; - is standard input", Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			target := filepath.Base(args[1])
			if len(args) == 3 {
				target = args[2]
			} else if args[1] == "-" {
				return usageError("standard input has no name", "remuda runspace files put RUNSPACE - PATH")
			}
			content := c.Stdin
			if args[1] != "-" {
				f, err := os.Open(args[1])
				if err != nil {
					return &remuda.Error{Code: remuda.CodeInvalid, Message: "cannot read the file", Cause: err.Error(), Remedy: "check the path"}
				}
				defer func() { _ = f.Close() }() // only read
				content = f
			}
			remote, err := c.remote()
			if err != nil {
				return err
			}
			rs, err := remote.findRunspace(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			entry, err := remote.WriteFile(cmd.Context(), rs.Id, target, content)
			if err != nil {
				return err
			}
			return c.print(entry, func(io.Writer) error { return nil })
		},
	}
}

func (c *command) filesRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm RUNSPACE PATH...", Short: "Remove files or empty directories of the workspace", Args: cobra.MinimumNArgs(2),
		RunE: c.remotely(func(ctx context.Context, remote *remote, args []string) error {
			rs, err := remote.findRunspace(ctx, args[0])
			if err != nil {
				return err
			}
			return each(args[1:], func(path string) error { return remote.DeleteFile(ctx, rs.Id, path) })
		}),
	}
}
