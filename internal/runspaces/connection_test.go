package runspaces_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/organizations"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
	"github.com/remuda-run/remuda/internal/scripts"
	"github.com/remuda-run/remuda/internal/store"
)

// site is a house with everything that connection scripts need.
type site struct {
	*house
	executions *executions.Service
	scripts    *scripts.Service
	delegates  *delegates
}

// delegates are an organizations.Service that is made when its store is there.
type delegates struct{ *organizations.Service }

// connected returns a site with the scripts, by name.
func connected(t *testing.T, set runspaces.Settings, stored map[string]string) *site {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	x := &site{delegates: &delegates{}}
	set.Delegates = x.delegates
	x.house = open(t, set)
	x.delegates.Service = organizations.New(x.store, log, nil)
	x.executions = executions.New(x.store, x.rts, x.Service, x.pool, log, nil, executions.Settings{})
	x.scripts = scripts.New(x.store, x.rts, x.executions, log)
	x.SetRunner(x.executions)
	x.SetScripts(x.scripts)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := x.executions.Drain(ctx); err != nil {
			t.Error(err)
		}
	})
	err := x.store.Write(t.Context(), func(tx *store.Tx) error {
		return errors.Join(
			tx.InsertUser(t.Context(), remuda.User{ID: deployer.User, Name: deployer.UserName, CreatedAt: time.Now()}),
			tx.PutMembership(t.Context(), remuda.Membership{Organization: ours, User: deployer.User, Role: remuda.RoleDeployer}))
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range stored {
		x.store1(t, remuda.ScriptDefinition{Name: name, Content: content, Runtime: x.runtimeID(t)})
	}
	return x
}

func (x *site) runtimeID(t *testing.T) remuda.RuntimeID {
	t.Helper()
	rt, err := x.rts.Usable(deployer, "r")
	if err != nil {
		t.Fatal(err)
	}
	return rt.ID
}

func (x *site) store1(t *testing.T, d remuda.ScriptDefinition) remuda.Script {
	t.Helper()
	d.Kind = remuda.ScriptPython
	sc, err := x.scripts.CreateScript(t.Context(), deployer, d)
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

// connect is a request for a runspace with a connection script.
func connect(script string) remuda.RunspaceRequest {
	return remuda.RunspaceRequest{Runtime: "r", RunConnection: true, ConnectionScript: script}
}

// ran lists the executions of a runspace, oldest first, as "name state".
func (x *site) ran(t *testing.T, id remuda.RunspaceID) (list []string) {
	t.Helper()
	rows, _, err := x.executions.ListExecutions(t.Context(), deployer, remuda.ExecutionFilter{Runspace: id}, remuda.Page{})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if !row.System || row.Owner != deployer.User {
			t.Errorf("%s is no execution of the server's own for the owner: %+v", row.ID, row)
		}
		list = append([]string{row.Name + " " + string(row.State)}, list...)
	}
	return list
}

func (x *site) expect(t *testing.T, id remuda.RunspaceID, want ...string) {
	t.Helper()
	if got := x.ran(t, id); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("in the runspace ran %q, want %q", got, want)
	}
}

func (x *site) output(t *testing.T, id remuda.ExecutionID) string {
	t.Helper()
	var text strings.Builder
	page, err := x.executions.Output(t.Context(), deployer, id, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range page.Records {
		text.Write(rec.Data)
	}
	return text.String()
}

// The script has the credentials and a token that acts for the caller while it runs,
// and the runspace is ready when it has ended. Then nobody has either any more.
func TestConnection(t *testing.T) {
	t.Parallel()
	x := connected(t, runspaces.Settings{}, map[string]string{"connect": "param credentials\nset session open\nblock", "disconnect": "get session"})
	req := connect("connect")
	req.DisconnectScript, req.InitScript = "disconnect", "get session"
	req.Credentials = remuda.Credentials{"user": "u", "password": "p\"\\"}
	rs, err := x.CreateRunspace(t.Context(), deployer, req)
	if err != nil {
		t.Fatal(err)
	}
	var given map[string]string
	until(t, "the script runs", func() bool {
		id := x.state(t, rs.ID).ConnectionExecution
		return id != "" && json.Unmarshal([]byte(x.output(t, id)), &given) == nil
	})
	if given["user"] != "u" || given["password"] != "p\"\\" || len(given) != 3 {
		t.Errorf("the script has %v", given)
	}
	p, err := x.delegates.AuthenticateToken(t.Context(), given[runspaces.CredentialsToken])
	if err != nil || p.User != deployer.User || p.Organization != ours || p.Role != remuda.RoleDeployer {
		t.Errorf("its token is %+v, %v", p, err)
	}
	if got := x.state(t, rs.ID); got.State != remuda.RunspaceCreating {
		t.Errorf("while it runs the runspace is %s", got.State)
	}
	if _, err := x.executions.CancelExecution(t.Context(), deployer, x.state(t, rs.ID).ConnectionExecution); err != nil {
		t.Fatal(err)
	}
	// Ready all the same, and after an init script that sees what the connection left.
	if rs, err = x.WaitRunspace(t.Context(), deployer, rs.ID, time.Minute); err != nil || rs.State != remuda.RunspaceReady {
		t.Fatalf("afterwards it is %s (%s), %v", rs.State, rs.Error, err)
	}
	if _, err := x.delegates.AuthenticateToken(t.Context(), given[runspaces.CredentialsToken]); remuda.CodeOf(err) != remuda.CodeUnauthenticated {
		t.Errorf("the token afterwards: %v", err)
	}
	if err := x.DeleteRunspace(t.Context(), deployer, rs.ID); err != nil {
		t.Fatal(err)
	}
	x.expect(t, rs.ID, "connection canceled", "disconnect success")
}

func TestConnectionThatFails(t *testing.T) {
	t.Parallel()
	x := connected(t, runspaces.Settings{}, map[string]string{"fails": "raise ValueError no", "dies": "die memory", "later": "print x"})
	rs := x.ready(t, connect("fails"))
	x.expect(t, rs.ID, "connection error")
	rs = x.create(t, connect("dies"))
	if rs.State != remuda.RunspaceError || !strings.Contains(rs.Error, "connection script") && !strings.Contains(rs.Error, "ended its sandbox") {
		t.Errorf("without its sandbox it is %s: %s", rs.State, rs.Error)
	}
	x.expect(t, rs.ID, "connection error")
	// A script that is gone when its turn comes could not be started.
	release := x.eng.HoldCreate()
	defer release()
	for range 3 { // take the warm ones
		if _, err := x.CreateRunspace(t.Context(), deployer, remuda.RunspaceRequest{Runtime: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	rs, err := x.CreateRunspace(t.Context(), deployer, connect("later"))
	if err != nil {
		t.Fatal(err)
	}
	if err := x.scripts.DeleteScript(t.Context(), deployer, rs.ConnectionScript); err != nil {
		t.Fatal(err)
	}
	release()
	rs, err = x.WaitRunspace(t.Context(), deployer, rs.ID, time.Minute)
	if err != nil || rs.State != remuda.RunspaceError || !strings.Contains(rs.Error, "the connection script could not be run: ") || rs.ErrorCode != remuda.CodePrecondition {
		t.Errorf("it is %s (%s): %s, %v", rs.State, rs.ErrorCode, rs.Error, err)
	}
	x.expect(t, rs.ID)
}

func TestConnectionTimesOut(t *testing.T) {
	t.Parallel()
	x := connected(t, runspaces.Settings{PrepareTimeout: 2 * time.Second}, map[string]string{"blocks": "block"})
	rs := x.ready(t, connect("blocks"))
	x.expect(t, rs.ID, "connection timeout")
}

func TestConnectionIsChecked(t *testing.T) {
	t.Parallel()
	x := connected(t, runspaces.Settings{}, map[string]string{"connect": "print x"})
	secret := []remuda.ScriptVariable{{Name: "key", Kind: remuda.VariableSecret, Value: "canary"}}
	x.store1(t, remuda.ScriptDefinition{Name: "secret", Content: "param $key", Runtime: x.runtimeID(t), Variables: secret})
	x.store1(t, remuda.ScriptDefinition{Name: "elsewhere", Content: "param $key", Variables: secret})
	x.store1(t, remuda.ScriptDefinition{Name: "unread", Content: "print x", Variables: secret})
	x.store1(t, remuda.ScriptDefinition{Name: "needs", Content: "param $a", Variables: []remuda.ScriptVariable{{Name: "a", Kind: remuda.VariableText, Required: true}}})
	x.store1(t, remuda.ScriptDefinition{Name: "twice", Folder: "a", Content: "print x"})
	x.store1(t, remuda.ScriptDefinition{Name: "twice", Folder: "b", Content: "print x"})
	if _, err := x.rts.CreateRuntime(t.Context(), deployer, remuda.Definition{Name: "b", Language: remuda.LanguageBash}); err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 1<<16)
	for name, c := range map[string]struct {
		change func(*remuda.RunspaceRequest)
		field  string // "" is fine
		says   string
	}{
		"fine":                      {func(*remuda.RunspaceRequest) {}, "", ""},
		"none named":                {func(r *remuda.RunspaceRequest) { r.ConnectionScript = "" }, "connection_script", "neither the request nor the runtime r"},
		"absent":                    {func(r *remuda.RunspaceRequest) { r.ConnectionScript = "absent" }, "connection_script", `no script "absent"`},
		"two of the name":           {func(r *remuda.RunspaceRequest) { r.ConnectionScript = "twice" }, "connection_script", "several folders"},
		"without a value":           {func(r *remuda.RunspaceRequest) { r.ConnectionScript = "needs" }, "connection_script", "$a, which is required"},
		"another language":          {func(r *remuda.RunspaceRequest) { r.Runtime = "b" }, "connection_script", "of python; the runtime b runs bash"},
		"secrets":                   {func(r *remuda.RunspaceRequest) { r.ConnectionScript = "secret" }, "", ""},
		"secrets, another runtime":  {func(r *remuda.RunspaceRequest) { r.ConnectionScript = "elsewhere" }, "connection_script", "secret values ($key)"},
		"secrets that are not read": {func(r *remuda.RunspaceRequest) { r.ConnectionScript = "unread" }, "", ""},
		"secrets beside variables":  {func(r *remuda.RunspaceRequest) { r.ConnectionScript, r.Env = "secret", map[string]string{"A": "b"} }, "connection_script", "environment variables"},
		"secrets at the end":        {func(r *remuda.RunspaceRequest) { r.DisconnectScript = "secret" }, "disconnect_script", "$key"},
		"no such at the end":        {func(r *remuda.RunspaceRequest) { r.DisconnectScript = "absent" }, "disconnect_script", `no script "absent"`},
		"credentials for nothing": {func(r *remuda.RunspaceRequest) {
			r.RunConnection, r.Credentials = false, remuda.Credentials{"a": "canary"}
		}, "credentials", "not asked for"},
		"our own member": {func(r *remuda.RunspaceRequest) { r.Credentials = remuda.Credentials{"remuda_token": "canary"} }, "credentials", "remuda_token"},
		"too much":       {func(r *remuda.RunspaceRequest) { r.Credentials = remuda.Credentials{"a": big} }, "credentials", "65537 bytes"},
		"no UTF-8":       {func(r *remuda.RunspaceRequest) { r.Credentials = remuda.Credentials{"a": "canary\xff"} }, "credentials", "not UTF-8"},
		"no name":        {func(r *remuda.RunspaceRequest) { r.Credentials = remuda.Credentials{"": "canary"} }, "credentials", "whose name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := connect("connect")
			c.change(&req)
			if c.field == "" {
				x.ready(t, req)
				return
			}
			_, err := x.CreateRunspace(t.Context(), deployer, req)
			var e *remuda.Error
			if !errors.As(err, &e) || e.Code != remuda.CodeInvalid || len(e.Fields) != 1 || e.Fields[0].Field != c.field || !strings.Contains(e.Fields[0].Message, c.says) {
				t.Errorf("got %v, want a refusal of %s that says %q", err, c.field, c.says)
			}
			if err != nil && strings.Contains(fmt.Sprintf("%v %+v", err, e), "canary") {
				t.Errorf("the refusal tells a secret: %v", err)
			}
		})
	}
}

// An edge whose clients ask for a connection by habit gets a runspace without one, but not
// where credentials would go nowhere.
func TestConnectionIfAny(t *testing.T) {
	t.Parallel()
	x := connected(t, runspaces.Settings{}, map[string]string{"d": "print bye"})
	req := remuda.RunspaceRequest{RunConnection: true, ConnectionIfAny: true, DisconnectScript: "d"}
	rs := x.ready(t, req)
	if !rs.RunConnection || rs.ConnectionExecution != "" {
		t.Errorf("it is %+v", rs)
	}
	if _, err := x.ResetRunspace(t.Context(), deployer, rs.ID, runspaces.ResetRequest{}); err != nil {
		t.Errorf("a reset: %v", err)
	}
	until(t, "it is ready again", func() bool { return x.state(t, rs.ID).State == remuda.RunspaceReady })
	if err := x.DeleteRunspace(t.Context(), deployer, rs.ID); err != nil {
		t.Fatal(err)
	}
	x.expect(t, rs.ID)
	req.Runtime, req.Credentials = "r", remuda.Credentials{"a": "b"}
	if _, err := x.CreateRunspace(t.Context(), deployer, req); remuda.CodeOf(err) != remuda.CodeInvalid {
		t.Errorf("with credentials: %v", err)
	}
}

func TestDeleteWhileConnecting(t *testing.T) {
	t.Parallel()
	x := connected(t, runspaces.Settings{}, map[string]string{"c": "block", "d": "print bye"})
	req := connect("c")
	req.DisconnectScript = "d"
	rs, err := x.CreateRunspace(t.Context(), deployer, req)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the script runs", func() bool { return x.state(t, rs.ID).ConnectionExecution != "" })
	if err := x.DeleteRunspace(t.Context(), deployer, rs.ID); err != nil {
		t.Fatal(err)
	}
	if got := x.state(t, rs.ID); got.State != remuda.RunspaceClosed {
		t.Errorf("it is %s: %s", got.State, got.Error)
	}
	x.expect(t, rs.ID, "connection canceled", "disconnect success")
}
