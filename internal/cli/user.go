package cli

import (
	"context"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/api"
)

func (c *command) userCommand() *cobra.Command {
	return c.clientGroup("user", "Manage the accounts of the site", c.userCreate(), c.userList(), c.userUpdate(), c.userPassword(), c.whoami())
}

func (c *command) userCreate() *cobra.Command {
	var siteAdmin bool
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make an account; its password is asked for, or read from standard input", Args: cobra.ExactArgs(1),
		Long: "Make an account. It belongs to no organization yet: see `remuda organization member put`.",
		RunE: c.remotely(func(ctx context.Context, remote *remote, args []string) error {
			password, err := c.readPassword("password for " + args[0])
			if err != nil {
				return err
			}
			u, err := remote.CreateUser(ctx, api.UserCreate{Name: args[0], Password: password, SiteAdmin: &siteAdmin})
			if err != nil {
				return err
			}
			return c.printUser(u)
		}),
	}
	cmd.Flags().BoolVar(&siteAdmin, "site-admin", false, "may make organizations and users, and change built-in objects")
	return cmd
}

func (c *command) userList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List accounts", Args: cobra.NoArgs,
		RunE: c.remotely(func(ctx context.Context, remote *remote, _ []string) error {
			items, err := remote.allUsers(ctx)
			if err != nil {
				return err
			}
			return c.print(api.UserList{Items: items}, func(w io.Writer) error {
				t := newTable("NAME", "SITE ADMIN", "DISABLED", "CREATED", "ID")
				for _, u := range items {
					t.add(u.Name, strconv.FormatBool(u.SiteAdmin), strconv.FormatBool(u.Disabled), ago(time.Now(), u.CreatedAt), u.Id)
				}
				return t.write(w)
			})
		}),
	}
}

func (c *command) userUpdate() *cobra.Command {
	var password, disable, enable bool
	cmd := &cobra.Command{
		Use: "update NAME", Short: "Change another user's password, disable or enable an account", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if disable && enable || !password && !disable && !enable {
				return usageError("it is not clear what to change", "give --password, --disable or --enable")
			}
			var req api.UserUpdate
			remote, err := c.remote()
			if err != nil {
				return err
			}
			if disable || enable {
				req.Disabled = &disable
			}
			if password {
				text, err := c.readPassword("new password for " + args[0])
				if err != nil {
					return err
				}
				req.Password = &text
			}
			u, err := remote.UpdateUser(cmd.Context(), args[0], req)
			if err != nil {
				return err
			}
			return c.printUser(u)
		},
	}
	cmd.Flags().BoolVar(&password, "password", false, "ask for a new password, or read it from standard input")
	cmd.Flags().BoolVar(&disable, "disable", false, "refuse its password and its tokens from now on")
	cmd.Flags().BoolVar(&enable, "enable", false, "undo --disable")
	return cmd
}

func (c *command) userPassword() *cobra.Command {
	return &cobra.Command{
		Use: "password NAME", Short: "Change your own password", Args: cobra.ExactArgs(1),
		Long: "Change your own password. The present one is asked for first; if standard input is no terminal it has the\n" +
			"present one on its first line and the new one on its second. No token is needed.",
		RunE: func(cmd *cobra.Command, args []string) error {
			loaded, err := c.settings()
			if err != nil {
				return err
			}
			remote, err := c.connect(loaded.Config)
			if err != nil {
				return err
			}
			passwords, err := c.readPasswords("present password of "+args[0], "new password of "+args[0])
			if err != nil {
				return err
			}
			u, err := remote.ChangePassword(cmd.Context(), args[0], passwords[0], passwords[1])
			if err != nil {
				return err
			}
			return c.printUser(u)
		},
	}
}

func (c *command) whoami() *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Show whose token this is, and what it may do", Args: cobra.NoArgs,
		RunE: c.remotely(func(ctx context.Context, remote *remote, _ []string) error {
			me, err := remote.Whoami(ctx)
			if err != nil {
				return err
			}
			return c.print(me, func(w io.Writer) error {
				return pairs(w, "user", me.UserName, "organization", me.Organization, "role", string(me.Role),
					"site admin", strconv.FormatBool(me.SiteAdmin), "scope", string(me.Scope))
			})
		}),
	}
}

func (c *command) printUser(u api.User) error {
	return c.print(u, func(w io.Writer) error {
		return pairs(w, "name", u.Name, "id", u.Id, "site admin", strconv.FormatBool(u.SiteAdmin),
			"disabled", strconv.FormatBool(u.Disabled), "created", ago(time.Now(), u.CreatedAt))
	})
}
