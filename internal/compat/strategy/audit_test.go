package strategy_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/remuda"
)

// The audit log has what was done here, by whom and why; the server's log has the
// ticket of what was refused, and neither has a secret.
func TestAudit(t *testing.T) {
	t.Parallel()
	s := start(t)
	h, c := login(t, s, "administrator.ours"), mustSpec(t).Client(t)
	send := func(method, path, body string) string {
		t.Helper()
		r := s.Send(c, method, prefix+path, h, body)
		if r.Status >= http.StatusBadRequest {
			t.Fatalf("%s %s: %d %s", method, path, r.Status, r.Body)
		}
		var got struct{ ID string }
		_ = json.Unmarshal(r.Body, &got)
		return got.ID
	}
	runtime := send("POST", "/api/runtimes", `{"name":"r","changeJournal":{"userComments":"why created"}}`)
	send("PATCH", "/api/runtimes/"+runtime, `{"execTimeout":5,"changeJournal":{"userComments":"why changed"}}`)
	send("DELETE", "/api/runtimes/"+runtime+"?userComments=why+deleted", "")
	script := send("POST", "/api/scripts", `{"name":"s","variables":[{"name":"p","type":4,"value":"the-secret-value"}],"changeJournal":{"userComments":"why stored"}}`)
	send("PUT", "/api/scripts/"+script, `{"description":"x","changeJournal":{"userComments":"`+strings.Repeat("long ", 1000)+`"}}`)
	send("DELETE", "/api/scripts/"+script+"?userComments=why+removed", "")
	send("POST", "/api/auth/logout", "")
	var told []string
	for _, e := range s.Audit("ours") {
		if e.Outcome != remuda.OutcomeOK || e.User == "" || e.RequestID == "" && e.Action != "member.write" {
			t.Errorf("entry %+v", e)
		}
		told = append(told, e.Action+" "+e.Details["change"]+" "+e.Details["comment"])
	}
	for _, want := range []string{
		"session.open create ", "runtime.write create why created", "runtime.write update why changed", "runtime.write delete why deleted",
		"script.write create why stored", "script.write delete why removed", "session.open close ",
	} {
		if !slices.Contains(told, want) {
			t.Errorf("the audit log has no %q\n%s", want, strings.Join(told, "\n"))
		}
	}
	r := s.Send(c, "GET", prefix+"/api/runtimes/"+runtime, login(t, s, "monitor.ours"), "")
	refused, err := errorOf(r)
	if err != nil || !strings.Contains(s.Log(), refused.TicketID) {
		t.Errorf("the ticket %s is not in the log (%v)", refused.TicketID, err)
	}
	for _, secret := range append(h["X-Mstr-Authtoken"], "the-secret-value", "the password of everybody") {
		if strings.Contains(s.Log(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}

// A script is changed by one of two who read the same revision.
func TestOneOfTwoChanges(t *testing.T) {
	t.Parallel()
	s := start(t)
	h, c := login(t, s, "operator.ours"), mustSpec(t).Client(t)
	r := s.Send(c, "POST", prefix+"/api/scripts?fields=id,version", h, `{"name":"s"}`)
	var made struct{ ID, Version string }
	if err := json.Unmarshal(r.Body, &made); err != nil {
		t.Fatal(err)
	}
	// A change that changes nothing makes no version.
	s.Send(c, "PUT", prefix+"/api/scripts/"+made.ID, h, `{"name":"s"}`)
	if r := s.Send(c, "GET", prefix+"/api/scripts/"+made.ID, h, ""); !strings.Contains(string(r.Body), made.Version) {
		t.Errorf("got %s", r.Body)
	}
	results := make(chan int, 20)
	for i := range cap(results) {
		go func() {
			results <- s.Send(&http.Client{}, "PUT", prefix+"/api/scripts/"+made.ID, h, `{"description":"`+strings.Repeat("x", i+1)+`"}`).Status
		}()
	}
	done := 0
	for range cap(results) {
		switch status := <-results; status {
		case http.StatusNoContent:
			done++
		case http.StatusConflict:
		default:
			t.Errorf("a change answers %d", status)
		}
	}
	script, err := s.Scripts.GetScript(t.Context(), remuda.Principal{User: "x", Organization: organization(t, s.Audit("ours")), Role: remuda.RoleMonitor, Scope: remuda.ScopeRead}, made.ID)
	if err != nil || done == 0 || script.Revision != done+1 {
		t.Errorf("after %d changes the revision is %d, %v", done, script.Revision, err)
	}
}

func organization(t *testing.T, entries []remuda.AuditEntry) remuda.OrganizationID {
	t.Helper()
	if len(entries) == 0 {
		t.Fatal("an empty audit log")
	}
	return entries[0].Organization
}
