package native_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/client"
)

// TestRunspaceInTurn has two scripts in one runspace: one that blocks, and one that is
// refused and then waits for its turn; an interrupt, a reset, and what is said of all.
func TestRunspaceInTurn(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := newHouse(t).login(t, "admin", "the admin's password", "write")
	must[client.Runtime](t)(c.CreateRuntime(ctx, client.RuntimeCreate{Name: "mine", Language: "python"}))
	active := 3600.0
	rs := must[client.Runspace](t)(c.CreateRunspace(ctx, client.RunspaceCreate{Runtime: "mine", ActiveTimeoutS: &active}, 30*time.Second))
	if rs.State != api.RunspaceStateReady || rs.ActiveTimeoutS != active || rs.MemoryMb != nil || rs.Connection || rs.ErrorCode != nil {
		t.Errorf("runspace %+v", rs)
	}
	block, script, first, second, yes := "block", "set x 1", "first", "second", true
	long := must[client.Execution](t)(c.CreateRunspaceExecution(ctx, rs.Id, client.RunspaceExecutionCreate{Script: &block, Name: &first}, 0))
	_, err := c.CreateRunspaceExecution(ctx, rs.Id, client.RunspaceExecutionCreate{Script: &script}, 0)
	if id, busy := client.Running(err); !busy || id != long.Id || code(err) != "conflict" {
		t.Errorf("a busy runspace answers %v, which names %q", err, id)
	}
	next := must[client.Execution](t)(c.CreateRunspaceExecution(ctx, rs.Id, client.RunspaceExecutionCreate{Script: &script, Name: &second, Queue: &yes}, 0))
	if next.State != api.ExecutionStateQueued || next.Name != second {
		t.Errorf("what waits is %+v", next)
	}
	must[client.Runspace](t)(c.InterruptRunspace(ctx, rs.Id))
	if ex := must[client.Execution](t)(c.WaitExecution(ctx, long.Id)); ex.State != api.ExecutionStateCanceled || ex.Name != first {
		t.Errorf("what was interrupted is %+v", ex)
	}
	if ex := must[client.Execution](t)(c.WaitExecution(ctx, next.Id)); ex.State != api.ExecutionStateSuccess {
		t.Errorf("what waited is %+v", ex)
	}
	must[client.Runspace](t)(c.InterruptRunspace(ctx, rs.Id)) // nothing runs, and nothing happens
	again := must[client.Runspace](t)(c.ResetRunspace(ctx, rs.Id, client.RunspaceReset{}, 30*time.Second))
	if again.State != api.RunspaceStateReady || again.Resets != 1 || again.Instance == nil || *again.Instance == *rs.Instance {
		t.Errorf("after a reset %+v", again)
	}
	list := must[client.ExecutionList](t)(c.ListExecutions(ctx, client.ExecutionFilter{Runspace: rs.Id, NoSystem: true}, client.Page{}))
	if !slices.ContainsFunc(list.Items, func(ex client.Execution) bool { return ex.Name == second }) || slices.ContainsFunc(list.Items, func(ex client.Execution) bool { return ex.System }) {
		t.Errorf("listed are %+v", list.Items)
	}
	if err := c.DeleteRunspace(ctx, rs.Id); err != nil {
		t.Error(err)
	}
	if _, err := c.InterruptRunspace(ctx, rs.Id); code(err) != "conflict" {
		t.Errorf("interrupting a closed runspace gives %v", err)
	}
	if _, err := c.ResetRunspace(ctx, rs.Id, client.RunspaceReset{}, 0); code(err) != "conflict" {
		t.Errorf("resetting a closed runspace gives %v", err)
	}
}

// TestRefusalsOfRunspaces is TestRefusals for what runspaces, their executions, limits
// and stored scripts have: wrong, foreign and forbidden requests.
func TestRefusalsOfRunspaces(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	h := newHouse(t)
	admin := h.login(t, "admin", "the admin's password", "write")
	reader := h.login(t, "admin", "the admin's password", "read")
	must[client.Organization](t)(admin.CreateOrganization(ctx, "other"))
	eve := h.member(t, admin, "other", "eve", "administrator")
	bob := h.member(t, admin, "default", "bob", "operator")
	must[client.Runtime](t)(admin.CreateRuntime(ctx, client.RuntimeCreate{Name: "mine", Language: "bash"}))
	rs := must[client.Runspace](t)(admin.CreateRunspace(ctx, client.RunspaceCreate{Runtime: "mine"}, 30*time.Second))
	script, most, twice := "print x", 3, []client.ParameterScript{{Name: "a", Script: "1"}, {Name: "a", Script: "2"}}
	ex := must[client.Execution](t)(admin.CreateExecution(ctx, client.ExecutionCreate{Runtime: "mine", Script: &script}, 30*time.Second))
	sc := must[client.Script](t)(admin.CreateScript(ctx, client.ScriptCreate{Name: "log in", Content: "1"}))
	huge, short, yes := 1<<20, 0.001, true
	open := func(in client.RunspaceCreate) func() error {
		in.Runtime = "mine"
		return func() error { _, err := admin.CreateRunspace(ctx, in, 0); return err }
	}
	stream := func(c *client.Client, id string) func() error {
		return func() error { _, err := c.GetStream(ctx, id, client.StreamError, client.MessagePage{}); return err }
	}
	for name, tc := range map[string]struct {
		call func() error
		want string
	}{
		"too much memory":         {open(client.RunspaceCreate{MemoryMb: &huge}), "invalid"},
		"too little time":         {open(client.RunspaceCreate{ActiveTimeoutS: &short}), "invalid"},
		"credentials for nothing": {open(client.RunspaceCreate{Credentials: &client.Credentials{"a": "b"}}), "invalid"},
		"no connection script":    {open(client.RunspaceCreate{Connection: &yes}), "invalid"},
		"foreign interrupt":       {func() error { _, err := eve.InterruptRunspace(ctx, rs.Id); return err }, "not_found"},
		"foreign reset":           {func() error { _, err := eve.ResetRunspace(ctx, rs.Id, client.RunspaceReset{}, 0); return err }, "not_found"},
		"read scope interrupts":   {func() error { _, err := reader.InterruptRunspace(ctx, rs.Id); return err }, "forbidden"},
		"read scope resets":       {func() error { _, err := reader.ResetRunspace(ctx, rs.Id, client.RunspaceReset{}, 0); return err }, "forbidden"},
		"a parameter twice": {func() error {
			_, err := admin.CreateRunspaceExecution(ctx, rs.Id, client.RunspaceExecutionCreate{Script: &script, ParameterScripts: twice}, 0)
			return err
		}, "invalid"},
		"a parameter by value and more": {func() error {
			_, err := admin.CreateRunspaceExecution(ctx, rs.Id, client.RunspaceExecutionCreate{Script: &script, ParameterScripts: twice[:1], Parameters: map[string]json.RawMessage{"a": json.RawMessage("1")}}, 0)
			return err
		}, "invalid"},
		"foreign stream":  {stream(eve, ex.Id), "not_found"},
		"own stream":      {stream(reader, ex.Id), ""},
		"no stream":       {stream(admin, "ex_x"), "not_found"},
		"foreign objects": {func() error { _, err := eve.GetObjects(ctx, ex.Id); return err }, "not_found"},
		"foreign text":    {func() error { _, err := eve.GetText(ctx, ex.Id); return err }, "not_found"},
		"foreign limits":  {func() error { _, err := eve.GetLimits(ctx, "default"); return err }, "not_found"},
		"foreign limits set": {func() error {
			_, err := eve.UpdateLimits(ctx, "default", client.LimitsUpdate{MaxRunspaces: &most})
			return err
		}, "not_found"},
		"own limits set": {func() error {
			_, err := eve.UpdateLimits(ctx, "other", client.LimitsUpdate{MaxRunspaces: &most})
			return err
		}, ""},
		"operator reads limits": {func() error { _, err := bob.GetLimits(ctx, "default"); return err }, ""},
		"operator sets limits": {func() error {
			_, err := bob.UpdateLimits(ctx, "default", client.LimitsUpdate{MaxRunspaces: &most})
			return err
		}, "forbidden"},
		"site's organization": {func() error {
			_, err := admin.UpdateLimits(ctx, "org_global", client.LimitsUpdate{MaxRunspaces: &most})
			return err
		}, "not_found"},
		"foreign script": {func() error { _, err := eve.GetScript(ctx, sc.Id); return err }, "not_found"},
		"foreign script changed": {func() error {
			_, err := eve.UpdateScript(ctx, sc.Id, client.ScriptUpdate{Content: &script})
			return err
		}, "not_found"},
		"foreign script deleted": {func() error { return eve.DeleteScript(ctx, sc.Id) }, "not_found"},
		"read scope stores": {func() error {
			_, err := reader.CreateScript(ctx, client.ScriptCreate{Name: "x", Content: "1"})
			return err
		}, "forbidden"},
		"name is taken": {func() error {
			_, err := admin.CreateScript(ctx, client.ScriptCreate{Name: "log in", Content: "1"})
			return err
		}, "conflict"},
		"unknown template": {func() error { _, err := bob.FillArgumentTemplate(ctx, "x", map[string][]string{}); return err }, "not_found"},
	} {
		if err := tc.call(); code(err) != tc.want || (tc.want == "" && err != nil) {
			t.Errorf("%s: got %v, want code %q", name, err, tc.want)
		}
	}
	if list := must[client.ScriptList](t)(eve.ListScripts(ctx, "", client.Page{})); len(list.Items) != 0 {
		t.Errorf("another organization's scripts are listed: %+v", list.Items)
	}
	if list := must[client.ScriptList](t)(admin.ListScripts(ctx, "log in", client.Page{})); len(list.Items) != 1 || list.Items[0].Id != sc.Id {
		t.Errorf("listed are %+v", list.Items)
	}
}

// member makes a user with a role in an organization, logged in there.
func (h *house) member(t *testing.T, admin *client.Client, org, name string, role client.Role) *client.Client {
	t.Helper()
	password := "a long password of " + name
	must[client.User](t)(admin.CreateUser(context.Background(), client.UserCreate{Name: name, Password: password}))
	must[client.Member](t)(admin.PutMember(context.Background(), org, name, role))
	return h.login(t, name, password, "write")
}
