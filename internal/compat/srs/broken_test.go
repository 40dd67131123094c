package srs_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/compat/compattest"
)

// TestBrokenRunspace ends an interpreter from inside: the runspace says what happened
// until it is deleted, in the ids of this door.
func TestBrokenRunspace(t *testing.T) {
	t.Parallel()
	r := startReal(t).member("ada", "operator", "default")
	rs := r.runspace()
	ex := r.run(rs, "import os\nos._exit(3)", nil)
	if ex["state"] != "error" || ex["reason"] == "" {
		t.Errorf("the script is %v", ex)
	}
	var broken object
	for clock := compattest.Deadline(); broken["state"] != "error"; {
		if broken = get[object](r, "/api/runspaces/"+rs); !clock.Left() {
			t.Fatalf("the runspace is %v", broken)
		}
	}
	details, _ := broken["error_details"].(object)
	if text := fmt.Sprint(details["error_message"]); details["code"] != 500.0 || !strings.Contains(text, fmt.Sprint(ex["id"])) || strings.Contains(text, "ex_") {
		t.Errorf("its error is %v", details)
	}
	r.refused(r.send(http.MethodPost, "/api/script-executions", `{"runspace_id":"`+rs+`","script":"1"}`), http.StatusInternalServerError, 2031, "Runspace state is: Error")
	if list := get[[]object](r, "/api/runspaces"); len(list) != 1 || list[0]["state"] != "error" {
		t.Errorf("the list is %v", list)
	}
	r.want(r.send(http.MethodDelete, "/api/runspaces/"+rs, ""), http.StatusOK)
	r.refused(r.send(http.MethodGet, "/api/runspaces/"+rs, ""), http.StatusNotFound, 2030)
	r.refused(r.send(http.MethodDelete, "/api/runspaces/"+rs, ""), http.StatusInternalServerError, 2040)
	if list := get[[]object](r, "/api/runspaces"); len(list) != 0 {
		t.Errorf("the list is %v", list)
	}
	if ended := get[object](r, fmt.Sprintf("/api/script-executions/%v", ex["id"])); ended["state"] != "error" {
		t.Errorf("the script is %v", ended)
	}
}
