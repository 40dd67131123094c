// Package client talks to a Remuda server over its native API, /v1.
//
//	c, err := client.New("http://127.0.0.1:8080", token)
//	ex, err := c.Run(ctx, client.ExecutionCreate{Runtime: "python", Script: &script}, os.Stdout, os.Stderr)
//
// Errors that the server reports are *Problem. The types are those generated
// from api/openapi.yaml. Start with client.go; output.go has the streaming of
// output, which goes on by itself after a lost connection, messages.go that of the
// streams of messages, stream.go many scripts over one connection, and terminals.go
// the connections to terminals.
package client
