package native_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/remuda-run/remuda/client"
)

// streaming returns a client that may open streams, and a ready runspace.
func (h *house) streaming(t *testing.T, token client.TokenCreated) (*client.Client, client.Runspace) {
	t.Helper()
	c, err := client.New(h.url, token.Token) // nothing between it and the server
	if err != nil {
		t.Fatal(err)
	}
	return c, must[client.Runspace](t)(c.CreateRunspace(t.Context(), client.RunspaceCreate{Runtime: "python"}, time.Minute))
}

func (h *house) token(t *testing.T, scope client.Scope) client.TokenCreated {
	t.Helper()
	return must[client.TokenCreated](t)(h.client(t, "").CreateTokenBasic(t.Context(), "admin", "the admin's password", "", client.TokenCreate{Name: "stream", Scope: &scope}))
}

func asked(format string, args ...any) client.RunspaceExecutionCreate {
	script := fmt.Sprintf(format, args...)
	return client.RunspaceExecutionCreate{Script: &script}
}

// TestStream sends many requests ahead and wants every answer, in order, stored,
// and wrong requests refused without an end of the stream.
func TestStream(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c, rs := h.streaming(t, h.token(t, "write"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := must[*client.Stream](t)(c.OpenStream(ctx, rs.Id))
	const n = 300
	sent := make(chan error, 1)
	go func() {
		for i := range n {
			in := asked("value %d", i)
			if i%10 == 3 {
				in = client.RunspaceExecutionCreate{} // neither script nor file
			}
			if err := s.Send(ctx, in); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range n {
		ex, err := s.Receive(ctx)
		if i%10 == 3 {
			if !client.IsCode(err, "invalid") {
				t.Fatalf("answer %d: %v, want a refusal", i, err)
			}
			continue
		}
		if err != nil || ex.State != "success" || ex.Value == nil || ex.Value.Text != fmt.Sprint(i) || *ex.Runspace != rs.Id {
			t.Fatalf("answer %d: %+v, %v", i, ex, err)
		}
		if i%50 == 0 {
			if stored := must[client.Execution](t)(c.GetExecution(ctx, ex.Id, 0)); stored.State != "success" || stored.EndedAt == nil {
				t.Errorf("answer %d was told before it was recorded: %+v", i, stored)
			}
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// TestStreamIsCutOff drops connections in the middle and wants what was begun to
// end and be recorded, and the runspace to be usable.
func TestStreamIsCutOff(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c, rs := h.streaming(t, h.token(t, "write"))
	queue := true
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		s := must[*client.Stream](t)(c.OpenStream(ctx, rs.Id))
		for range 40 {
			in := asked("set x 1")
			in.Queue = &queue // what the connection before has begun may still run
			if err := s.Send(ctx, in); err != nil {
				t.Fatal(err)
			}
		}
		must[client.Execution](t)(s.Receive(ctx))
		cancel()  // what a lost connection looks like
		told := 1 // and what had arrived before the cut may still be read
		for ; told <= 40; told++ {
			if _, err := s.Receive(ctx); err != nil {
				break
			}
		}
		if told > 40 {
			t.Fatal("the connection is not cut")
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		ex, err := c.CreateRunspaceExecution(t.Context(), rs.Id, asked("get x"), time.Minute)
		if err == nil && ex.State == "success" {
			break
		}
		if !client.IsCode(err, "conflict") || time.Now().After(deadline) {
			t.Fatalf("after the cuts: %+v, %v", ex, err)
		}
		time.Sleep(time.Millisecond)
	}
	list := must[client.ExecutionList](t)(c.ListExecutions(t.Context(), client.ExecutionFilter{Runspace: rs.Id}, client.Page{Limit: 200}))
	for _, ex := range list.Items {
		if !client.Final(ex.State) {
			t.Errorf("execution %s is %s", ex.Id, ex.State)
		}
	}
}

// TestStreamRefusals opens streams that must not be.
func TestStreamRefusals(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	token := h.token(t, "write")
	c, rs := h.streaming(t, token)
	reader := must[*client.Client](t)(client.New(h.url, h.token(t, "read").Token))
	nobody := must[*client.Client](t)(client.New(h.url, "nonsense"))
	for name, try := range map[string]struct {
		c    *client.Client
		rs   string
		code string
	}{
		"no such runspace": {c, "rs_nothing", "not_found"},
		"may only read":    {reader, rs.Id, "forbidden"},
		"no token":         {nobody, rs.Id, "unauthenticated"},
	} {
		if _, err := try.c.OpenStream(t.Context(), try.rs); !client.IsCode(err, try.code) {
			t.Errorf("%s: %v, want %s", name, err, try.code)
		}
	}
	_, answer, err := websocket.Dial(t.Context(), h.url+"/v1/runspaces/"+rs.Id+"/stream", &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + token.Token}}, Subprotocols: []string{"remuda.executions.v0"},
	})
	if err == nil || answer == nil || answer.StatusCode != http.StatusBadRequest {
		t.Errorf("another subprotocol: %v", err)
	}
	if _, err := h.client(t, token.Token).GetRunspace(t.Context(), rs.Id+"/stream", 0); !client.IsCode(err, "not_found") {
		t.Errorf("an id with a slash: %v", err)
	}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url+"/v1/runspaces/"+rs.Id+"/stream", nil)
	r.Header.Set("Authorization", "Bearer "+token.Token)
	plain, err := h.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Body.Close()
	if plain.StatusCode != http.StatusBadRequest {
		t.Errorf("without an upgrade: %d", plain.StatusCode)
	}

	// A token that is revoked ends what it began.
	s := must[*client.Stream](t)(c.OpenStream(t.Context(), rs.Id))
	if err := s.Send(t.Context(), asked("value 1")); err != nil {
		t.Fatal(err)
	}
	must[client.Execution](t)(s.Receive(t.Context()))
	if err := h.client(t, token.Token).RevokeToken(t.Context(), token.Id); err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), asked("value 2")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Receive(t.Context()); !client.IsCode(err, "unauthenticated") {
		t.Errorf("with a revoked token: %v", err)
	}
	if err := s.Close(); err != nil && !strings.Contains(err.Error(), "closed") {
		t.Error(err)
	}
}
