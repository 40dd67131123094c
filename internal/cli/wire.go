package cli

import (
	"time"
	"unicode/utf8"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/remuda"
)

// wireExecution gives an execution of this process the shape that the API has,
// so that -o json looks the same with and without a server.
func wireExecution(ex remuda.Execution) api.Execution {
	w := api.Execution{
		Id: string(ex.ID), State: api.ExecutionState(ex.State), Runtime: string(ex.Runtime), RuntimeName: ex.RuntimeName,
		Instance: optional(string(ex.Instance)), Generation: ex.Generation, Fresh: ex.Fresh, Narrowed: []string{}, Owner: string(ex.Owner),
		ExitCode: ex.ExitCode, KilledBy: optional(api.KilledBy(ex.KilledBy)), Reason: optional(ex.Reason),
		Usage: api.Usage{
			CpuS: ex.Usage.CPU.Seconds(), WallS: ex.Usage.Wall.Seconds(), PeakMemoryMb: float64(ex.Usage.PeakMemory) / (1 << 20),
		},
		TimingsUs: map[string]int64{}, OutputBytes: ex.OutputBytes, OutputCutBytes: ex.OutputCut,
		CreatedAt: ex.CreatedAt.Truncate(time.Microsecond), StartedAt: ex.StartedAt, EndedAt: ex.EndedAt,
	}
	if v := ex.Value; v != nil {
		w.Value = &api.Value{Json: v.JSON, Text: v.Text, Rich: v.Rich}
	}
	if e := ex.Error; e != nil {
		w.Error = &api.ScriptError{Type: e.Type, Message: e.Message, Traceback: e.Traceback}
	}
	for stage, d := range ex.Timings {
		w.TimingsUs[stage] = d.Microseconds()
	}
	return w
}

func wireRecord(r remuda.OutputRecord) api.OutputRecord {
	w := api.OutputRecord{Seq: r.Seq, Stream: api.OutputRecordStream(r.Stream)}
	if utf8.Valid(r.Data) {
		text := string(r.Data)
		w.Data = &text
	} else {
		w.DataBase64 = r.Data
	}
	return w
}

// recordOf is the reverse of wireRecord.
func recordOf(w api.OutputRecord) remuda.OutputRecord {
	r := remuda.OutputRecord{Seq: w.Seq, Stream: remuda.Stream(w.Stream), Data: w.DataBase64}
	if w.Data != nil {
		r.Data = []byte(*w.Data)
	}
	return r
}

// optional is nil for a zero value.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
