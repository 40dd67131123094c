package executions_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/remuda"
)

// A value that is nested deeper than JSON is read makes neither its execution nor the
// list of all executions unreadable, nor the journal of a server that is killed.
func TestDeepValue(t *testing.T) {
	t.Parallel()
	h := open(t, settings{})
	deep := func(levels int) string {
		return strings.Repeat(`[{"\"[[":`, levels/2) + `"]}\\"` + strings.Repeat("}]", levels/2)
	}
	for _, levels := range []int{4, 5000, 5002, 9994, 9996, 9998, 10000} {
		t.Run(fmt.Sprint(levels), func(t *testing.T) {
			want := ""
			if levels <= 5000 {
				want = deep(levels)
			}
			e := h.run(t, remuda.ExecutionRequest{Runtime: "r", Script: "value " + deep(levels)})
			if e.State != remuda.ExecutionSuccess || e.Value == nil || e.Value.Text == "" || string(e.Value.JSON) != want {
				t.Errorf("it ended as %s, %s, with %.40q", e.State, e.Reason, e.Value)
			}
			got, err := h.executions.GetExecution(t.Context(), deployer, e.ID)
			_, _, err2 := h.executions.ListExecutions(t.Context(), deployer, remuda.ExecutionFilter{}, remuda.Page{})
			if err := errors.Join(err, err2); err != nil {
				t.Fatal(err)
			}
			if got.Value == nil || string(got.Value.JSON) != want {
				t.Errorf("what is stored has %.40q", got.Value)
			}
		})
	}
}
