package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/remuda-run/remuda/client"
)

// remuda stands for a server: it answers each path that ends so. What it says is what
// a server says, shortened.
func remuda(answers map[string]string) (c *client.Client, stop func()) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for end, answer := range answers {
			if !strings.HasSuffix(r.URL.Path, end) {
				continue
			}
			if strings.Contains(answer, `"reason"`) {
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(http.StatusConflict)
			}
			_, _ = io.WriteString(w, answer)
			return
		}
		http.NotFound(w, r)
	}))
	c, err := client.New(srv.URL, "token")
	if err != nil {
		panic(err)
	}
	return c, srv.Close
}

// A script runs once, in a sandbox of its own, and its output comes as it is written.
func ExampleClient_Run() {
	c, stop := remuda(map[string]string{
		"/v1/executions": `{"id": "ex_1", "state": "running"}`,
		"/output":        "id: 1\nevent: output\ndata: {\"seq\":1,\"stream\":\"stdout\",\"data\":\"hello\\n\"}\n\nevent: end\ndata: {\"state\":\"success\",\"value\":{\"json\":42,\"text\":\"42\"}}\n\n",
	})
	defer stop()
	script := "print('hello'); x * 2"
	ex, err := c.Run(context.Background(), client.ExecutionCreate{
		Runtime: "python", Script: &script, Parameters: map[string]json.RawMessage{"x": json.RawMessage("21")},
	}, os.Stdout, os.Stderr)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ex.State, ex.Value.Text)
	// Output:
	// hello
	// success 42
}

// A runspace is connected to something by its runtime's connection script, which
// alone gets the credentials. They are not shown when the request is printed.
func ExampleClient_CreateRunspace() {
	c, stop := remuda(map[string]string{"/v1/runspaces": `{"id": "rs_1", "state": "ready", "connection_execution": "ex_1"}`})
	defer stop()
	yes, limit := true, 3600.0
	in := client.RunspaceCreate{Runtime: "reports", Connection: &yes, Credentials: &client.Credentials{"password": "s3cr3t"}, ActiveTimeoutS: &limit}
	rs, err := c.CreateRunspace(context.Background(), in, time.Minute)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(rs.State, *rs.ConnectionExecution, *in.Credentials)
	// Output: ready ex_1 [credentials]
}

// A script waits for its turn in a runspace that is busy. One of its parameters is
// computed first, in the same interpreter.
func ExampleClient_CreateRunspaceExecution() {
	c, stop := remuda(map[string]string{
		"/runspaces/rs_1/executions": `{"id": "ex_1", "state": "queued"}`,
		"/executions/ex_1":           `{"id": "ex_1", "state": "success", "value": {"text": "2026"}}`,
	})
	defer stop()
	script, yes := "day.year", true
	ex, err := c.CreateRunspaceExecution(context.Background(), "rs_1", client.RunspaceExecutionCreate{
		Script: &script, Queue: &yes,
		ParameterScripts: []client.ParameterScript{{
			Name: "day", Script: "__import__('datetime').date.fromisoformat(argument)", Value: json.RawMessage(`"2026-11-22"`),
		}},
	}, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ex.State)
	if ex, err = c.WaitExecution(context.Background(), ex.Id); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ex.State, ex.Value.Text)
	// Output:
	// queued
	// success 2026
}

// Values become a parameter script by way of a template, which quotes them.
func ExampleClient_FillArgumentTemplate() {
	c, stop := remuda(map[string]string{"/argument-templates/bash-word/fill": `{"script": "printf '%s\\n' 'a b'"}`})
	defer stop()
	script, err := c.FillArgumentTemplate(context.Background(), "bash-word", map[string][]string{"value": {"a b"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(script)
	// Output: printf '%s\n' 'a b'
}

// Warnings are followed while the script runs, over as many connections as it takes.
func ExampleClient_FollowStream() {
	c, stop := remuda(map[string]string{
		"/streams/warning": "id: 4\nevent: message\ndata: {\"seq\":4,\"time\":\"2026-11-22T08:00:00Z\",\"message\":\"nearly full\"}\n\nevent: end\ndata: {\"state\":\"success\"}\n\n",
	})
	defer stop()
	ex, err := c.FollowStream(context.Background(), "ex_1", client.StreamWarning, 0, func(m client.StreamRecord) error {
		fmt.Println(m.Time.Format(time.TimeOnly), m.Message)
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ex.State)
	// Output:
	// 08:00:00 nearly full
	// success
}

// A busy runspace says which execution runs in it.
func ExampleRunning() {
	c, stop := remuda(map[string]string{
		"/executions": `{"code": "conflict", "title": "the runspace is busy", "reason": "runspace_busy", "object": "ex_7"}`,
		"/interrupt":  `{"id": "rs_1", "state": "active"}`,
	})
	defer stop()
	script := "1 + 1"
	_, err := c.CreateRunspaceExecution(context.Background(), "rs_1", client.RunspaceExecutionCreate{Script: &script}, time.Minute)
	if id, busy := client.Running(err); busy {
		fmt.Println("interrupting", id)
		_, err = c.InterruptRunspace(context.Background(), "rs_1")
	}
	fmt.Println(err)
	// Output:
	// interrupting ex_7
	// <nil>
}

// An administrator changes what the organization's users may open, while they do.
func ExampleClient_UpdateLimits() {
	c, stop := remuda(map[string]string{"/organizations/acme/limits": `{"max_runspaces": 20, "in_force": {"max_runspaces": 20, "idle_timeout_s": 1800}}`})
	defer stop()
	most := 20
	limits, err := c.UpdateLimits(context.Background(), "acme", client.LimitsUpdate{MaxRunspaces: &most})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(*limits.MaxRunspaces, limits.IdleTimeoutS == nil, *limits.InForce.IdleTimeoutS)
	// Output: 20 true 1800
}
