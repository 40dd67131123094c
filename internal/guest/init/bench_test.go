package guestinit_test

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// BenchmarkRoundTrip is one small script on a warm interpreter, frame to frame.
func BenchmarkRoundTrip(b *testing.B) {
	for language, script := range map[remuda.Language]string{
		remuda.LanguagePython: "1+1", remuda.LanguageNode: "1+1", remuda.LanguageBash: ":",
	} {
		b.Run(string(language), func(b *testing.B) {
			s := ready(b, language)
			for range 20 {
				s.exec(protocol.Execute{ID: "warm", Script: script})
			}
			for b.Loop() {
				s.exec(protocol.Execute{ID: "x", Script: script})
			}
		})
	}
}

// BenchmarkStart is the way from clone to a waiting interpreter, in stages.
func BenchmarkStart(b *testing.B) {
	for _, language := range []remuda.Language{remuda.LanguagePython, remuda.LanguageNode, remuda.LanguageBash} {
		b.Run(string(language), func(b *testing.B) {
			set := setup(b, language)
			var hello, fence, interpreter time.Duration
			for b.Loop() {
				at := time.Now()
				s := start(b)
				expect[protocol.State](s.client, protocol.TypeState)
				hello += time.Since(at)
				s.send(protocol.TypeSetup, set)
				r := expect[protocol.Ready](s.client, protocol.TypeReady)
				fence += time.Duration(r.TimingsUS["fence"]) * time.Microsecond
				interpreter += time.Duration(r.TimingsUS["interpreter"]) * time.Microsecond
				_ = s.cmd.Process.Kill()
				s.gone()
			}
			for name, d := range map[string]time.Duration{"clone-to-state": hello, "fence": fence, "interpreter": interpreter} {
				b.ReportMetric(float64(d.Microseconds())/float64(b.N), name+"-us/op")
			}
		})
	}
}

// BenchmarkFirstRun is the first script of a warm interpreter: what a warm
// one-shot waits for.
func BenchmarkFirstRun(b *testing.B) {
	const pause = 50 * time.Millisecond // an instance of a pool has had some rest
	for language, script := range map[remuda.Language]string{
		remuda.LanguagePython: "print(1)", remuda.LanguageNode: "console.log(1)", remuda.LanguageBash: "echo 1",
	} {
		b.Run(string(language), func(b *testing.B) {
			var wall time.Duration
			var inside int64
			for b.Loop() {
				s := ready(b, language)
				time.Sleep(pause)
				at := time.Now()
				r := s.exec(protocol.Execute{ID: "x", Script: script, KillOnTimeout: true})
				inside += r.WallUS
				wall += time.Since(at)
				_ = s.cmd.Process.Kill()
				s.gone()
			}
			b.ReportMetric(float64(wall.Microseconds())/float64(b.N), "first-us/op")
			b.ReportMetric(float64(inside)/float64(b.N), "inside-us/op")
		})
	}
}

// BenchmarkMemory reports what a waiting keeper has to itself.
func BenchmarkMemory(b *testing.B) {
	s := ready(b, remuda.LanguagePython)
	for range 100 {
		s.exec(protocol.Execute{ID: "x", Script: "print('x' * 1000)"})
	}
	for b.Loop() {
		b.ReportMetric(float64(private(b, s.cmd.Process.Pid)), "private-KiB")
	}
}

// private sums the private pages of a process, in KiB.
func private(t testing.TB, pid int) int {
	t.Helper()
	data, err := os.ReadFile("/proc/" + itoa(pid) + "/smaps_rollup")
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for line := range bytes.Lines(data) {
		f := bytes.Fields(line)
		if len(f) > 1 && bytes.HasPrefix(f[0], []byte("Private_")) {
			sum += atoi(string(f[1]))
		}
	}
	return sum
}
