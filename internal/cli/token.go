package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/remuda"
)

func (c *command) tokenCommand() *cobra.Command {
	return c.clientGroup("token", "Make and revoke bearer tokens", c.tokenCreate(), c.tokenList(), c.tokenRevoke())
}

func (c *command) tokenCreate() *cobra.Command {
	var user, organization, scope string
	var expires time.Duration
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a token; its secret is shown only now", Args: cobra.ExactArgs(1),
		Long: "Make a token. With --user the password is asked for (or read from standard input if that is no terminal);\n" +
			"without it the token in REMUDA_TOKEN makes the new one.",
		Example: "  export REMUDA_URL=http://127.0.0.1:8080\n  export REMUDA_TOKEN=$(remuda token create laptop --user admin)",
		RunE: func(cmd *cobra.Command, args []string) error {
			req := api.TokenCreate{Name: args[0]}
			if scope != "" {
				s := api.Scope(scope)
				req.Scope = &s
			}
			if expires < 0 {
				return usageError("--expires %s is negative", "write it like 720h", expires)
			}
			if expires > 0 {
				at := time.Now().UTC().Add(expires).Truncate(time.Second)
				req.ExpiresAt = &at
			}
			remote, err := c.remoteForToken(user, organization)
			if err != nil {
				return err
			}
			token, err := remote.CreateToken(cmd.Context(), req)
			if err != nil {
				return err
			}
			// Only the secret, so that it can be assigned to a variable.
			return c.print(token, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, token.Token)
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&user, "user", "u", "", "log in as this user instead of with a token")
	cmd.Flags().StringVar(&organization, "organization", "", "organization the token acts in, with --user (default: the user's first one)")
	cmd.Flags().StringVar(&scope, "scope", "", "read or write (default write)")
	cmd.Flags().DurationVar(&expires, "expires", 0, "how long it is valid, like 720h (default: until it is revoked)")
	return cmd
}

// remoteForToken is a client that logs in as a user, or with the token.
func (c *command) remoteForToken(user, organization string) (*remote, error) {
	if user == "" {
		return c.remote()
	}
	loaded, err := c.settings()
	if err != nil {
		return nil, err
	}
	password, err := c.readPassword("password of " + user)
	if err != nil {
		return nil, err
	}
	return c.remoteAs(loaded.Config, user, password, organization)
}

// readPassword reads one password.
func (c *command) readPassword(what string) (string, error) {
	passwords, err := c.readPasswords(what)
	if err != nil {
		return "", err
	}
	return passwords[0], nil
}

// readPasswords asks for each on the terminal without an echo, or takes the first
// lines of standard input. A password is never an argument: those are visible to
// all.
func (c *command) readPasswords(whats ...string) ([]string, error) {
	passwords := make([]string, 0, len(whats))
	if f, ok := c.Stdin.(*os.File); ok && isTerminal(f) {
		for _, what := range whats {
			_, _ = fmt.Fprintf(c.Stderr, "%s: ", what)
			raw, err := term.ReadPassword(int(f.Fd()))
			_, _ = fmt.Fprintln(c.Stderr)
			if err != nil {
				return nil, &remuda.Error{Code: remuda.CodeInvalid, Message: "cannot read the " + what, Cause: err.Error()}
			}
			passwords = append(passwords, string(raw))
		}
		return passwords, nil
	}
	raw, err := readLimit(c.Stdin, 4096, "the "+strings.Join(whats, " and the ")+" on standard input")
	if err != nil {
		return nil, err
	}
	rest := string(raw)
	for _, what := range whats {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		if line == "" {
			return nil, usageError("no %s on standard input", "type it on a terminal, or pipe it in as a line", what)
		}
		passwords = append(passwords, strings.TrimSuffix(line, "\r"))
	}
	return passwords, nil
}

func (c *command) tokenList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List tokens; an administrator sees all of the organization", Args: cobra.NoArgs,
		RunE: c.remotely(func(ctx context.Context, remote *remote, _ []string) error {
			items, err := remote.allTokens(ctx)
			if err != nil {
				return err
			}
			return c.print(api.TokenList{Items: items}, func(w io.Writer) error {
				t := newTable("NAME", "SCOPE", "EXPIRES", "CREATED", "USER", "ID")
				for _, k := range items {
					expires := "never"
					if k.ExpiresAt != nil {
						expires = ago(time.Now(), *k.ExpiresAt)
					}
					t.add(k.Name, string(k.Scope), expires, ago(time.Now(), k.CreatedAt), k.User, k.Id)
				}
				return t.write(w)
			})
		}),
	}
}

func (c *command) tokenRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke TOKEN_ID...", Short: "Revoke tokens; they do not work from then on", Args: cobra.MinimumNArgs(1),
		RunE: c.remotely(func(ctx context.Context, remote *remote, args []string) error {
			return each(args, func(id string) error { return remote.RevokeToken(ctx, id) })
		}),
	}
}
