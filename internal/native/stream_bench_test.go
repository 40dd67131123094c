package native_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/remuda-run/remuda/client"
	"github.com/remuda-run/remuda/internal/store"
)

// BenchmarkRunspace is what a server and its client cost around a script that
// costs nothing: over HTTP, one request after the other, and over a stream.
func BenchmarkRunspace(b *testing.B) {
	for _, durability := range []store.Durability{store.DurabilityMachine, store.DurabilityProcess} {
		b.Run(string(durability), func(b *testing.B) {
			h := newHouseWith(b, durability)
			token, err := h.plain(b, "").CreateTokenBasic(b.Context(), "admin", "the admin's password", "", client.TokenCreate{Name: "bench"})
			if err != nil {
				b.Fatal(err)
			}
			c := h.plain(b, token.Token)
			rs, err := c.CreateRunspace(b.Context(), client.RunspaceCreate{Runtime: "python"}, time.Minute)
			if err != nil {
				b.Fatal(err)
			}
			b.Run("http", func(b *testing.B) {
				measured(b, func() {
					for b.Loop() {
						if _, err := c.CreateRunspaceExecution(b.Context(), rs.Id, asked("value 2"), time.Minute); err != nil {
							b.Fatal(err)
						}
					}
				})
			})
			b.Run("stream", func(b *testing.B) { measured(b, func() { benchmarkStream(b, c, rs.Id) }) })
		})
	}
}

func benchmarkStream(b *testing.B, c *client.Client, runspace string) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	s, err := c.OpenStream(ctx, runspace)
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		for range b.N {
			if s.Send(ctx, asked("value 2")) != nil {
				return
			}
		}
	}()
	for range b.N {
		if _, err := s.Receive(ctx); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// measured adds the processor time of server and client, which depends less on
// what else the machine does than the wall clock.
func measured(b *testing.B, run func()) {
	b.Helper()
	used := func() time.Duration {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	b.ReportAllocs()
	before := used()
	run()
	b.ReportMetric(float64((used()-before).Microseconds())/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
}
