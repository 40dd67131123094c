package executions_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// lineModel is what the stream of errors is to be: every line that is not empty, where
// it ends, and every message.
func lineModel(records []remuda.OutputRecord) []string {
	messages := []string{}
	var open strings.Builder
	end := func() {
		text := strings.TrimSuffix(open.String(), "\r")
		if over := open.Len() - 32<<10; over > 0 {
			text = fmt.Sprintf("%s ... %d bytes cut", strings.TrimSuffix(open.String()[:32<<10], "\r"), over)
		}
		if text != "" {
			messages = append(messages, text)
		}
		open.Reset()
	}
	for _, r := range records {
		switch r.Stream {
		case remuda.StreamError:
			messages = append(messages, string(r.Data))
		case remuda.StreamStderr:
			for _, b := range r.Data {
				if b == '\n' {
					end()
				} else {
					open.WriteByte(b)
				}
			}
		default:
		}
	}
	end()
	return messages
}

// TestLinesInPages cuts standard error into records anyhow and reads it in pages of
// every size, from every place, and from its end.
func TestLinesInPages(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	pieces := rapid.SampledFrom([]string{"a", "bc\n", "\n", "\r\n", "d\ne", "\n\nf", strings.Repeat("long ", 5000), ""})
	kinds := rapid.SampledFrom([]remuda.Stream{remuda.StreamStderr, remuda.StreamStderr, remuda.StreamStderr, remuda.StreamError, remuda.StreamStdout, remuda.StreamWarning})
	rapid.Check(t, func(rt *rapid.T) {
		var records []remuda.OutputRecord
		for i := range rapid.IntRange(0, 10).Draw(rt, "records") {
			r := remuda.OutputRecord{Seq: int64(i + 1), Stream: kinds.Draw(rt, "stream")}
			if r.Stream == remuda.StreamStderr {
				r.Data = []byte(pieces.Draw(rt, "data"))
			} else {
				r.Data = fmt.Appendf(nil, "m%d", i)
			}
			records = append(records, r)
		}
		at := remuda.Now()
		e := remuda.Execution{ID: remuda.NewExecutionID(), Organization: ours, Owner: deployer.User, Runtime: "rt_1", State: remuda.ExecutionQueued, CreatedAt: at}
		over := e
		over.State, over.StartedAt, over.EndedAt = remuda.ExecutionSuccess, &at, &at
		h.write(t, func(tx *store.Tx) error {
			return errors.Join(tx.InsertExecution(t.Context(), e), tx.AppendOutput(t.Context(), ours, e.ID, records), tx.UpdateExecution(t.Context(), over))
		})
		want := lineModel(records)
		for _, most := range []int{1, 2, 3, 100} {
			if got := h.messages(t, e.ID, remuda.StreamError, most); !slices.Equal(got, want) {
				rt.Fatalf("in pages of %d: %.300q\nwant %.300q\nof %.600s", most, got, want, fmt.Sprint(records))
			}
			got, _, ended, err := h.executions.StreamRecords(t.Context(), deployer, e.ID, remuda.StreamError, remuda.StreamPage{Last: most})
			var last []string
			for _, r := range got {
				last = append(last, r.Message)
			}
			if err != nil || !ended || !slices.Equal(last, want[max(0, len(want)-most):]) {
				rt.Fatalf("the last %d: %.300q, %v\nof %.300q", most, last, err, want)
			}
		}
	})
}

// TestLinesWhileTheyAreWritten reads after every record that is stored: nothing comes
// twice, nothing is missed, and a line comes when it has ended.
func TestLinesWhileTheyAreWritten(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	at := remuda.Now()
	e := remuda.Execution{ID: remuda.NewExecutionID(), Organization: ours, Owner: deployer.User, Runtime: "rt_1", State: remuda.ExecutionRunning, CreatedAt: at, StartedAt: &at}
	h.write(t, func(tx *store.Tx) error { return tx.InsertExecution(t.Context(), e) })
	var all []string
	var after int64
	read := func() (ended bool) {
		records, next, ended, err := h.executions.StreamRecords(t.Context(), deployer, e.ID, remuda.StreamError, remuda.StreamPage{After: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			all = append(all, fmt.Sprintf("%d %s", r.Seq, r.Message))
		}
		after = next
		return ended
	}
	for i, data := range []string{"one\ntw", "o\n", "thr", "e", "e\nfour\nfi", "v"} {
		h.write(t, func(tx *store.Tx) error {
			return tx.AppendOutput(t.Context(), ours, e.ID, []remuda.OutputRecord{{Seq: int64(i + 1), Stream: remuda.StreamStderr, Data: []byte(data), At: at}})
		})
		if read() {
			t.Fatal("it has ended before its end")
		}
	}
	if want := []string{"1 one", "2 two", "5 three", "5 four"}; !slices.Equal(all, want) {
		t.Errorf("while it runs: %q, want %q", all, want)
	}
	later := at.Add(time.Second)
	e.State, e.EndedAt = remuda.ExecutionSuccess, &later
	h.write(t, func(tx *store.Tx) error { return tx.UpdateExecution(t.Context(), e) })
	for range 3 {
		if !read() {
			t.Error("it has not ended after its end")
		}
	}
	if want := []string{"1 one", "2 two", "5 three", "5 four", "7 fiv"}; !slices.Equal(all, want) {
		t.Errorf("in the end: %q, want %q", all, want)
	}
}
