package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/remuda-run/remuda/client"
)

// A script runs once, in a sandbox of its own, and its output comes as it is written.
func ExampleClient_Run() {
	c, err := client.New(os.Getenv("REMUDA_URL"), os.Getenv("REMUDA_TOKEN"))
	if err != nil {
		log.Fatal(err)
	}
	script := "print('hello'); x * 2"
	ex, err := c.Run(context.Background(), client.ExecutionCreate{
		Runtime: "python", Script: &script, Parameters: map[string]json.RawMessage{"x": json.RawMessage("21")},
	}, os.Stdout, os.Stderr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ex.State, ex.Value.Text)
}

// A runspace is connected to something by its runtime's connection script, which
// alone gets the credentials.
func ExampleClient_CreateRunspace() {
	c, err := client.New(os.Getenv("REMUDA_URL"), os.Getenv("REMUDA_TOKEN"))
	if err != nil {
		log.Fatal(err)
	}
	yes, limit := true, 3600.0
	rs, err := c.CreateRunspace(context.Background(), client.RunspaceCreate{
		Runtime: "reports", Connection: &yes, Credentials: &client.Credentials{"user": "ada", "password": os.Getenv("DB_PASSWORD")}, ActiveTimeoutS: &limit,
	}, time.Minute)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rs.State, *rs.ConnectionExecution)
}

// A script waits for its turn in a runspace that is busy. One of its parameters is
// computed first, in the same interpreter.
func ExampleClient_CreateRunspaceExecution() {
	c, err := client.New(os.Getenv("REMUDA_URL"), os.Getenv("REMUDA_TOKEN"))
	if err != nil {
		log.Fatal(err)
	}
	script, yes := "print(day.year)", true
	ex, err := c.CreateRunspaceExecution(context.Background(), os.Args[1], client.RunspaceExecutionCreate{
		Script: &script, Queue: &yes,
		ParameterScripts: []client.ParameterScript{{
			Name: "day", Script: "__import__('datetime').date.fromisoformat(argument)", Value: json.RawMessage(`"2026-11-22"`),
		}},
	}, 0)
	if err != nil {
		log.Fatal(err)
	}
	if ex, err = c.WaitExecution(context.Background(), ex.Id); err != nil {
		log.Fatal(err)
	}
	fmt.Println(ex.State)
}

// Values become a parameter script by way of a template, which quotes them.
func ExampleClient_FillArgumentTemplate() {
	c, err := client.New(os.Getenv("REMUDA_URL"), os.Getenv("REMUDA_TOKEN"))
	if err != nil {
		log.Fatal(err)
	}
	script, err := c.FillArgumentTemplate(context.Background(), "python-int-by-string", map[string][]string{"value": {"42"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(script) // int("42")
}

// Warnings are followed while the script runs, over as many connections as it takes.
func ExampleClient_FollowStream() {
	c, err := client.New(os.Getenv("REMUDA_URL"), os.Getenv("REMUDA_TOKEN"))
	if err != nil {
		log.Fatal(err)
	}
	ex, err := c.FollowStream(context.Background(), os.Args[1], client.StreamWarning, 0, func(m client.StreamRecord) error {
		fmt.Println(m.Time, m.Message)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ex.State)
}

// A busy runspace says which execution runs in it.
func ExampleClient_InterruptRunspace() {
	c, err := client.New(os.Getenv("REMUDA_URL"), os.Getenv("REMUDA_TOKEN"))
	if err != nil {
		log.Fatal(err)
	}
	script := "1 + 1"
	_, err = c.CreateRunspaceExecution(context.Background(), os.Args[1], client.RunspaceExecutionCreate{Script: &script}, time.Minute)
	if id, busy := client.Running(err); busy {
		fmt.Println("interrupting", id)
		_, err = c.InterruptRunspace(context.Background(), os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
}
