//go:build !amd64

package guestinit

import "github.com/remuda-run/remuda/internal/guest/channel"

// childCode is not there: children begin as the driver's own words make them.
func childCode() []byte { return nil }

func sharing() [][]channel.Call { return nil }
