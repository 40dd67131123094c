package local

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

var benchResources = remuda.Resources{CPU: 2, MemoryMB: 256, DiskMB: 64, Pids: 64}

func benchEngine(b *testing.B) *Engine {
	b.Helper()
	e, err := New(b.Context(), Options{DataDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return e
}

func benchCreate(b *testing.B, e *Engine, language remuda.Language, r remuda.Resources) engine.Instance {
	b.Helper()
	inst, err := e.Create(b.Context(), engine.Spec{ID: remuda.NewInstanceID(), Language: language, Resources: r})
	if err != nil {
		b.Fatal(err)
	}
	return inst
}

// BenchmarkReference is what cold starts are measured against.
func BenchmarkReference(b *testing.B) {
	for b.Loop() {
		if err := exec.CommandContext(b.Context(), "/usr/bin/python3", "-c", "print(1)").Run(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCold creates, runs a script and destroys; the last is not counted.
func BenchmarkCold(b *testing.B) {
	for _, tt := range []struct {
		name     string
		language remuda.Language
		script   string
		disk     int
	}{
		{"python", remuda.LanguagePython, "print(1)", 64}, {"python on an image", remuda.LanguagePython, "print(1)", 1024},
		{"node", remuda.LanguageNode, "console.log(1)", 64}, {"bash", remuda.LanguageBash, "echo 1", 64},
	} {
		b.Run(tt.name, func(b *testing.B) {
			e := benchEngine(b)
			r := benchResources
			r.DiskMB = tt.disk
			stages := map[string]time.Duration{}
			for b.Loop() {
				inst := benchCreate(b, e, tt.language, r)
				begun := time.Now()
				if _, err := inst.Execute(b.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: tt.script}, nil); err != nil {
					b.Fatal(err)
				}
				stages["execute"] += time.Since(begun)
				for stage, d := range inst.Timings() {
					stages[stage] += d
				}
				b.StopTimer()
				begun = time.Now()
				if err := inst.Destroy(b.Context()); err != nil {
					b.Fatal(err)
				}
				stages["destroy"] += time.Since(begun)
				time.Sleep(20 * time.Millisecond) // the stock fills up
				b.StartTimer()
			}
			for stage, d := range stages {
				b.ReportMetric(float64(d.Microseconds())/float64(b.N), stage+"-us/op")
			}
		})
	}
}

// BenchmarkBlank makes and destroys a blank.
func BenchmarkBlank(b *testing.B) {
	e := benchEngine(b)
	for b.Loop() {
		bl, err := e.makeBlank(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := bl.destroy(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkExecute runs a line in an instance that is there.
func BenchmarkExecute(b *testing.B) {
	e := benchEngine(b)
	inst := benchCreate(b, e, remuda.LanguagePython, benchResources)
	for b.Loop() {
		if _, err := inst.Execute(b.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: "1+1"}, nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := inst.Destroy(b.Context()); err != nil {
		b.Error(err)
	}
}
