package cli

import (
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/api"
)

func (c *command) organizationCommand() *cobra.Command {
	members := group("member", "Who has which role", c.memberList(), c.memberPut(), c.memberRemove())
	return c.clientGroup("organization", "Manage organizations and their members", c.organizationCreate(), c.organizationList(), members)
}

func (c *command) organizationCreate() *cobra.Command {
	return &cobra.Command{
		Use: "create NAME", Short: "Make an organization", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			remote, err := c.remote()
			if err != nil {
				return err
			}
			o, err := remote.CreateOrganization(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.print(o, func(w io.Writer) error {
				return pairs(w, "name", o.Name, "id", o.Id, "created", ago(time.Now(), o.CreatedAt))
			})
		},
	}
}

func (c *command) organizationList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the organizations that one may see", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			remote, err := c.remote()
			if err != nil {
				return err
			}
			items, err := remote.allOrganizations(cmd.Context())
			if err != nil {
				return err
			}
			return c.print(api.OrganizationList{Items: items}, func(w io.Writer) error {
				t := newTable("NAME", "CREATED", "ID")
				for _, o := range items {
					t.add(o.Name, ago(time.Now(), o.CreatedAt), o.Id)
				}
				return t.write(w)
			})
		},
	}
}

func (c *command) memberList() *cobra.Command {
	return &cobra.Command{
		Use: "list ORGANIZATION", Short: "List the members and their roles", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			remote, err := c.remote()
			if err != nil {
				return err
			}
			list, err := remote.ListMembers(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.print(list, func(w io.Writer) error {
				t := newTable("USER", "ROLE", "ID")
				for _, m := range list.Items {
					t.add(m.UserName, string(m.Role), m.User)
				}
				return t.write(w)
			})
		},
	}
}

func (c *command) memberPut() *cobra.Command {
	return &cobra.Command{
		Use: "put ORGANIZATION USER ROLE", Short: "Give a user a role: administrator, deployer, operator or monitor", Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			remote, err := c.remote()
			if err != nil {
				return err
			}
			m, err := remote.PutMember(cmd.Context(), args[0], args[1], api.Role(args[2]))
			if err != nil {
				return err
			}
			return c.print(m, func(w io.Writer) error { return pairs(w, "user", m.UserName, "role", string(m.Role)) })
		},
	}
}

func (c *command) memberRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove ORGANIZATION USER", Short: "Take a user's role away", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			remote, err := c.remote()
			if err != nil {
				return err
			}
			return remote.RemoveMember(cmd.Context(), args[0], args[1])
		},
	}
}
