package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remuda-run/remuda/api"
)

func (c *command) organizationCommand() *cobra.Command {
	members := group("member", "Who has which role", c.memberList(), c.memberPut(), c.memberRemove())
	return c.clientGroup("organization", "Manage organizations and their members", c.organizationCreate(), c.organizationList(), c.organizationUpdate(), members)
}

func (c *command) organizationCreate() *cobra.Command {
	return &cobra.Command{
		Use: "create NAME", Short: "Make an organization", Args: cobra.ExactArgs(1),
		RunE: c.remotely(func(ctx context.Context, remote *remote, args []string) error {
			o, err := remote.CreateOrganization(ctx, args[0])
			if err != nil {
				return err
			}
			return c.print(o, func(w io.Writer) error {
				return pairs(w, "name", o.Name, "id", o.Id, "created", ago(time.Now(), o.CreatedAt))
			})
		}),
	}
}

func (c *command) organizationList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the organizations that one may see", Args: cobra.NoArgs,
		RunE: c.remotely(func(ctx context.Context, remote *remote, _ []string) error {
			items, err := remote.allOrganizations(ctx)
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
		}),
	}
}

func (c *command) organizationUpdate() *cobra.Command {
	var isolations, allow, forbid []string
	var instances int
	cmd := &cobra.Command{
		Use: "update ORGANIZATION", Short: "Change what an organization may do (site administrators)", Args: cobra.ExactArgs(1),
		Long: "Change what an organization may do, beyond what the site's settings forbid everybody. A list replaces the one before;\n" +
			"an empty one (--isolations '') leaves it to the site's settings.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var policy api.PolicyUpdate
			given := cmd.Flags().Changed
			classes := make([]api.Isolation, len(isolations))
			for i, class := range isolations {
				classes[i] = api.Isolation(class)
			}
			assign(given("isolations"), &policy.Isolations, classes)
			assign(given("network-allow"), &policy.NetworkAllow, allow)
			assign(given("network-forbid"), &policy.NetworkForbid, forbid)
			assign(given("max-instances"), &policy.MaxInstances, instances)
			if policy == (api.PolicyUpdate{}) {
				return usageError("nothing to change", "give at least one flag, like --max-instances 16")
			}
			remote, err := c.remote()
			if err != nil {
				return err
			}
			o, err := remote.UpdateOrganization(cmd.Context(), args[0], api.OrganizationUpdate{Policy: policy})
			if err != nil {
				return err
			}
			return c.print(o, func(w io.Writer) error {
				return pairs(w, "name", o.Name, "id", o.Id, "isolations", siteIf(len(o.Policy.Isolations) == 0, fmt.Sprint(o.Policy.Isolations)),
					"network allow", siteIf(len(o.Policy.NetworkAllow) == 0, strings.Join(o.Policy.NetworkAllow, " ")),
					"network forbid", siteIf(len(o.Policy.NetworkForbid) == 0, strings.Join(o.Policy.NetworkForbid, " ")),
					"instances", siteIf(o.Policy.MaxInstances == 0, strconv.Itoa(o.Policy.MaxInstances)))
			})
		},
	}
	cmd.Flags().StringSliceVar(&isolations, "isolations", nil, "classes that its runtimes may have: process, gvisor")
	cmd.Flags().StringSliceVar(&allow, "network-allow", nil, "ranges of addresses that its runtimes may list and reach; empty is any")
	cmd.Flags().StringSliceVar(&forbid, "network-forbid", nil, "ranges that they may not, whatever --network-allow says")
	cmd.Flags().IntVar(&instances, "max-instances", 0, "most instances that it holds at the same time; 0 is the site's number")
	return cmd
}

// siteIf is the text, or that the site decides.
func siteIf(site bool, text string) string {
	if site {
		return "as the site says"
	}
	return text
}

func (c *command) memberList() *cobra.Command {
	return &cobra.Command{
		Use: "list ORGANIZATION", Short: "List the members and their roles", Args: cobra.ExactArgs(1),
		RunE: c.remotely(func(ctx context.Context, remote *remote, args []string) error {
			list, err := remote.ListMembers(ctx, args[0])
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
		}),
	}
}

func (c *command) memberPut() *cobra.Command {
	return &cobra.Command{
		Use: "put ORGANIZATION USER ROLE", Short: "Give a user a role: administrator, deployer, operator or monitor", Args: cobra.ExactArgs(3),
		RunE: c.remotely(func(ctx context.Context, remote *remote, args []string) error {
			m, err := remote.PutMember(ctx, args[0], args[1], api.Role(args[2]))
			if err != nil {
				return err
			}
			return c.print(m, func(w io.Writer) error { return pairs(w, "user", m.UserName, "role", string(m.Role)) })
		}),
	}
}

func (c *command) memberRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove ORGANIZATION USER", Short: "Take a user's role away", Args: cobra.ExactArgs(2),
		RunE: c.remotely(func(ctx context.Context, remote *remote, args []string) error {
			return remote.RemoveMember(ctx, args[0], args[1])
		}),
	}
}
