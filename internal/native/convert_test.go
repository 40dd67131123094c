package native

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/client"
	"github.com/remuda-run/remuda/internal/remuda"
)

// through sends v over the wire.
func through[T any](t interface{ Fatal(...any) }, v T) T {
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out T
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestOutputKeepsEveryByte sends any bytes, cut anywhere, and wants them back.
func TestOutputKeepsEveryByte(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) })).Draw(t, "data")
		cut := rapid.IntRange(0, len(data)).Draw(t, "cut")
		var got []byte
		for i, part := range [][]byte{data[:cut], data[cut:]} {
			rec := through(t, recordWire(remuda.OutputRecord{Seq: int64(i + 1), Stream: remuda.StreamStderr, Data: part}))
			if rec.Seq != int64(i+1) || rec.Stream != api.OutputRecordStreamStderr || (rec.Data == nil) == (rec.DataBase64 == nil) {
				t.Fatalf("record %+v", rec)
			}
			got = append(got, client.Bytes(rec)...)
		}
		if !bytes.Equal(got, data) {
			t.Fatalf("sent %q, got %q", data, got)
		}
	})
}

// TestRuntimeComesBack makes a definition of what is shown of a runtime and wants
// the same definition.
func TestRuntimeComesBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := remuda.Definition{
			Name: rapid.String().Draw(t, "name"), Description: rapid.String().Draw(t, "description"), Version: rapid.String().Draw(t, "version"),
			Language: rapid.SampledFrom(remuda.Languages()).Draw(t, "language"), Environment: remuda.EnvironmentHost,
			Resources: remuda.Resources{
				CPU: rapid.Float64Range(0.01, 64).Draw(t, "cpu"), MemoryMB: rapid.IntRange(1, 1<<20).Draw(t, "memory"),
				DiskMB: rapid.IntRange(1, 1<<20).Draw(t, "disk"), Pids: rapid.IntRange(1, 4096).Draw(t, "pids"),
			},
			ExecTimeout: time.Duration(rapid.IntRange(1, 86400).Draw(t, "timeout")) * time.Second,
			Pool:        remuda.PoolBounds{MinCached: rapid.IntRange(0, 9).Draw(t, "min"), MaxCached: rapid.IntRange(0, 9).Draw(t, "max")},
			Env:         rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "env"),
			Preload:     rapid.SliceOf(rapid.String()).Draw(t, "preload"), Isolation: rapid.SampledFrom(remuda.Isolations()).Draw(t, "isolation"),
			Egress: remuda.Egress{CIDRs: rapid.SliceOf(rapid.Custom(prefix)).Draw(t, "cidrs"), Names: rapid.SliceOf(rapid.String()).Draw(t, "names")},
		}
		rt := through(t, runtimeWire(remuda.Runtime{Definition: want}))
		seconds := int(rt.ExecTimeoutS)
		got, err := definition(api.RuntimeCreate{
			Name: rt.Name, Description: &rt.Description, Language: rt.Language, Version: &rt.Version, Environment: &rt.Environment,
			Resources:    &api.ResourcesUpdate{Cpu: &rt.Resources.Cpu, MemoryMb: &rt.Resources.MemoryMb, DiskMb: &rt.Resources.DiskMb, Pids: &rt.Resources.Pids},
			ExecTimeoutS: &seconds, Pool: &api.PoolUpdate{MinCached: &rt.Pool.MinCached, MaxCached: &rt.Pool.MaxCached}, Env: rt.Env,
			Preload: rt.Preload, Isolation: &rt.Isolation, Egress: &api.Egress{Cidrs: rt.Egress.Cidrs, Names: rt.Egress.Names},
		})
		if err != nil || !cmp.Equal(got, want, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Prefix{})) {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
		patch, err := runtimePatch(api.RuntimeUpdate{Preload: &rt.Preload, Isolation: &rt.Isolation, Egress: &api.Egress{Cidrs: rt.Egress.Cidrs, Names: rt.Egress.Names}})
		if err != nil || *patch.Isolation != want.Isolation || len(patch.Egress.CIDRs) != len(want.Egress.CIDRs) || len(*patch.Preload) != len(want.Preload) {
			t.Fatalf("the patch is %+v, %v", patch, err)
		}
	})
}

// prefix draws any range of addresses.
func prefix(t *rapid.T) netip.Prefix {
	if rapid.Bool().Draw(t, "v4") {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address"))), rapid.IntRange(0, 32).Draw(t, "bits"))
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address"))), rapid.IntRange(0, 128).Draw(t, "bits"))
}

// TestExecutionComesBack wants what is shown of an execution to be what it was,
// to the microsecond.
func TestExecutionComesBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		duration := func(name string) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(24*time.Hour/time.Microsecond)).Draw(t, name)) * time.Microsecond
		}
		created := time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "created")).In(time.FixedZone("x", 3600))
		want := remuda.Execution{
			ID: "ex_1", Runspace: remuda.RunspaceID(rapid.SampledFrom([]string{"", "rs_1"}).Draw(t, "runspace")), State: remuda.ExecutionTimeout,
			KilledBy: remuda.KilledBy(rapid.SampledFrom([]string{"", "time", "policy"}).Draw(t, "killed by")), CreatedAt: created, EndedAt: &created,
			Usage:   remuda.Usage{CPU: duration("cpu"), Wall: duration("wall"), PeakMemory: rapid.Int64Range(0, 1<<40).Draw(t, "peak")},
			Timings: remuda.Timings{"run": duration("run"), "total": duration("total")},
		}
		got := through(t, executionWire(want))
		same := value(got.Runspace) == string(want.Runspace) && value(got.KilledBy) == api.KilledBy(want.KilledBy) && got.Instance == nil &&
			got.CreatedAt.Equal(created) && got.CreatedAt.Location() == time.UTC && got.EndedAt.Equal(created) && got.StartedAt == nil &&
			got.TimingsUs["run"] == want.Timings["run"].Microseconds() && got.TimingsUs["total"] == want.Timings["total"].Microseconds() &&
			math.Abs(got.Usage.CpuS-want.Usage.CPU.Seconds()) < 1e-7 && int64(got.Usage.PeakMemoryMb*mebibyte) == want.Usage.PeakMemory
		if !same {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

func TestFileTypes(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]api.FileEntry{
		"file": {Type: api.FileEntryTypeFile, Mode: "0644"}, "directory": {Type: api.FileEntryTypeDirectory, Mode: "0755"},
		"symlink": {Type: api.FileEntryTypeSymlink, Mode: "0777"}, "socket": {Type: api.FileEntryTypeOther, Mode: "0600"},
	} {
		info := map[string]remuda.FileInfo{
			"file": {Mode: 0o644}, "directory": {Mode: 0o755 | fs.ModeDir}, "symlink": {Mode: 0o777 | fs.ModeSymlink}, "socket": {Mode: 0o600 | fs.ModeSocket},
		}[mode]
		if got := fileWire(info); got.Type != want.Type || got.Mode != want.Mode {
			t.Errorf("%s: got %+v", mode, got)
		}
	}
}

// TestShortDurationIsNotNone wants a limit too short to tell to stay a limit.
func TestShortDurationIsNotNone(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[float64]time.Duration{
		0: 0, 1e-300: 1, 1e-10: 1, 1e-9: 1, 0.3: 300 * time.Millisecond, 1.1: 1100 * time.Millisecond, 604800: 168 * time.Hour,
	} {
		if got := duration(seconds); got != want {
			t.Errorf("duration(%v) = %v, want %v", seconds, got, want)
		}
	}
}
