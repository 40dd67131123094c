package runspaces_test

import (
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/runspaces"
)

// A reset is an end and a beginning for the connection too.
func TestResetConnectsAgain(t *testing.T) {
	t.Parallel()
	x := connected(t, runspaces.Settings{}, map[string]string{"c": "param credentials", "d": "print bye"})
	secret := x.store1(t, remuda.ScriptDefinition{
		Name: "secret", Content: "param $key", Runtime: x.runtimeID(t), Variables: []remuda.ScriptVariable{{Name: "key", Kind: remuda.VariableSecret, Value: "canary"}},
	})
	req := connect("c")
	req.DisconnectScript, req.Credentials = "d", remuda.Credentials{"a": "first"}
	rs := x.ready(t, req)
	if _, err := x.ResetRunspace(t.Context(), deployer, rs.ID, runspaces.ResetRequest{Credentials: remuda.Credentials{"remuda_token": "x"}}); remuda.CodeOf(err) != remuda.CodeInvalid {
		t.Errorf("a reset with our own member: %v", err)
	}
	if _, err := x.ResetRunspace(t.Context(), deployer, rs.ID, runspaces.ResetRequest{}); remuda.CodeOf(err) != remuda.CodeConflict {
		t.Errorf("a reset without credentials: %v", err)
	}
	if _, err := x.ResetRunspace(t.Context(), deployer, rs.ID, runspaces.ResetRequest{Credentials: remuda.Credentials{"a": "second"}}); err != nil {
		t.Fatal(err)
	}
	until(t, "it is ready again", func() bool { return x.state(t, rs.ID).State == remuda.RunspaceReady })
	x.expect(t, rs.ID, "connection success", "disconnect success", "connection success")
	if out := x.output(t, x.state(t, rs.ID).ConnectionExecution); !strings.Contains(out, `"a":"second"`) {
		t.Errorf("the second time it has %s", out)
	}
	// One that never had credentials needs none.
	free := x.ready(t, connect("c"))
	if _, err := x.ResetRunspace(t.Context(), deployer, free.ID, runspaces.ResetRequest{}); err != nil {
		t.Errorf("a reset without credentials that there never were: %v", err)
	}
	until(t, "that one is ready again", func() bool { return x.state(t, free.ID).State == remuda.RunspaceReady })
	x.expect(t, free.ID, "connection success", "connection success")
	// Files of the user's lie beside it then: not with a secret of somebody else.
	other := x.ready(t, connect(string(secret.ID)))
	_, err := x.ResetRunspace(t.Context(), deployer, other.ID, runspaces.ResetRequest{Credentials: remuda.Credentials{"a": "b"}})
	if remuda.CodeOf(err) != remuda.CodeConflict || !strings.Contains(err.Error(), "files of an earlier instance") {
		t.Errorf("a reset with a secret: %v", err)
	}
	if got := x.state(t, other.ID); got.State != remuda.RunspaceReady || got.Resets != 0 {
		t.Errorf("after the refusal: %+v", got)
	}
}
