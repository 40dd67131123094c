package executions_test

import (
	"sync"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/executions"
	"github.com/remuda-run/remuda/internal/remuda"
)

// TestOutputIsLossless reads a flood while it comes, cutting the reader off and
// going on from the last number again and again.
func TestOutputIsLossless(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	const size = 3<<20 + 17
	e := h.submit(t, remuda.ExecutionRequest{Runtime: "r", Script: "eprint first\nflood 3145745\nprint last"})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			var after int64
			total := 0
			for {
				page, err := h.executions.Output(t.Context(), deployer, e.ID, after, 100_000, time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				for _, rec := range page.Records {
					if rec.Seq != after+1 {
						t.Errorf("record %d follows %d", rec.Seq, after)
						return
					}
					after = rec.Seq
					total += len(rec.Data)
				}
				if page.Next != after {
					t.Errorf("next is %d, the last record %d", page.Next, after)
				}
				if page.Ended {
					break
				}
			}
			if want := size + len("first\nlast\n"); total != want {
				t.Errorf("%d bytes were read, want %d", total, want)
			}
		})
	}
	readers.Wait()
	if end := h.wait(t, e.ID); end.State != remuda.ExecutionSuccess || end.OutputBytes != size+11 || end.OutputCut != 0 {
		t.Errorf("end: %s, %d bytes, %d cut", end.State, end.OutputBytes, end.OutputCut)
	}
}

func TestOutputIsCutAtTheLimit(t *testing.T) {
	t.Parallel()
	h := open(t, settings{executions: executions.Settings{OutputLimit: 100}})
	e := h.run(t, remuda.ExecutionRequest{Runtime: "r", Script: "flood 150"})
	page, err := h.executions.Output(t.Context(), deployer, e.ID, 0, 0, 0)
	if err != nil || !page.Truncated || page.Cut != 50 || !page.Ended || len(page.Records) != 1 || len(page.Records[0].Data) != 100 {
		t.Errorf("page: truncated %v, cut %d, ended %v, %d records, %v", page.Truncated, page.Cut, page.Ended, len(page.Records), err)
	}
	if _, err := h.executions.Output(t.Context(), deployer, e.ID, -1, 0, 0); remuda.CodeOf(err) != remuda.CodeInvalid {
		t.Errorf("after=-1: %v, want invalid", err)
	}
}

func TestOutputComesWhileItRuns(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	e := h.submit(t, remuda.ExecutionRequest{Runtime: "r", Script: "print one\nblock"})
	page, err := h.executions.Output(t.Context(), deployer, e.ID, 0, 0, time.Minute)
	if err != nil || len(page.Records) != 1 || string(page.Records[0].Data) != "one\n" || page.Ended {
		t.Fatalf("page %+v, %v", page, err)
	}
	began := time.Now()
	page, err = h.executions.Output(t.Context(), deployer, e.ID, 1, 0, 30*time.Millisecond)
	if err != nil || len(page.Records) != 0 || page.Ended || page.Next != 1 || time.Since(began) < 30*time.Millisecond {
		t.Errorf("nothing new: %+v, %v after %s", page, err, time.Since(began))
	}
	if _, err := h.executions.CancelExecution(t.Context(), deployer, e.ID); err != nil {
		t.Fatal(err)
	}
	page, err = h.executions.Output(t.Context(), deployer, e.ID, 1, 0, time.Minute)
	if err != nil || len(page.Records) != 0 || !page.Ended {
		t.Errorf("after the end: %+v, %v", page, err)
	}
}
