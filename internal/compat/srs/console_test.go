package srs_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/compat/compattest"
)

// TestWebConsole opens a console, looks at its page, gets a ticket for its terminal and
// closes it.
func TestWebConsole(t *testing.T) {
	t.Parallel()
	server := startReal(t)
	r, other := server.member("ada", "operator", "default"), server.member("bob", "operator", "default")
	reply := r.send(http.MethodPost, "/api/webconsoles", "")
	r.want(reply, http.StatusOK)
	wc := compattest.Decoded[object](t, reply.Body)
	path := fmt.Sprintf("/api/webconsoles/%v", wc["id"])
	if got := r.until(path, "creating"); got["state"] != "available" || got["id"] != wc["id"] || got["creation_time"] != wc["creation_time"] {
		t.Fatalf("it is %v, was created as %v", got, wc)
	}
	reply = r.send(http.MethodPost, "/api/webconsoles?wait=true", "")
	r.want(reply, http.StatusOK)
	if second := compattest.Decoded[object](t, reply.Body); second["state"] != "available" {
		t.Errorf("after waiting it is %v", second)
	}
	if list := get[[]object](r, "/api/webconsoles"); len(list) != 2 {
		t.Errorf("the list is %v", list)
	}
	if list := get[[]object](r, "/api/runspaces"); len(list) != 0 {
		t.Errorf("consoles are listed as runspaces: %v", list)
	}
	other.refused(other.send(http.MethodGet, path, ""), http.StatusNotFound, 2070)
	other.refused(other.send(http.MethodDelete, path, ""), http.StatusInternalServerError, 2080)

	plain := *r
	plain.http = &http.Client{}
	if page := plain.send(http.MethodGet, fmt.Sprintf("/%v", wc["id"]), ""); page.Status != http.StatusOK || !strings.Contains(string(page.Body), "<script") {
		t.Errorf("its page is %d %s", page.Status, page.Body)
	}
	ticket := func(key string) int {
		plain.header = http.Header{"Authorization": {"Bearer " + key}}
		return plain.send(http.MethodPost, fmt.Sprintf("/v1/terminals/%v/tickets", wc["id"]), "").Status
	}
	if got := ticket(r.key()); got != http.StatusCreated {
		t.Errorf("a ticket with the key: %d", got)
	}

	r.want(r.send(http.MethodDelete, path, ""), http.StatusOK)
	r.refused(r.send(http.MethodGet, path, ""), http.StatusNotFound, 2070)
	r.refused(r.send(http.MethodDelete, path, ""), http.StatusInternalServerError, 2080)
	r.want(r.send(http.MethodPost, "/api/auth/logout", ""), http.StatusOK)
	back := r.as("ada")
	for clock := compattest.Deadline(); len(get[[]object](back, "/api/webconsoles")) > 0; {
		if !clock.Left() {
			t.Fatal("the console of a session that has ended stays")
		}
	}
}
