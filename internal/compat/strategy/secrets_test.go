package strategy_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A stored secret is for the stored code alone: nobody can make other code of it
// that tells it.
func TestSecretsStayWithTheirCode(t *testing.T) {
	t.Parallel()
	s := start(t)
	h, c := login(t, s, "deployer.ours"), mustSpec(t).Client(t)
	send := func(status int, method, path, body string) string {
		t.Helper()
		r := s.Send(c, method, prefix+path, h, body)
		if r.Status != status {
			t.Fatalf("%s %s %s: %d, want %d\n%s", method, path, body, r.Status, status, r.Body)
		}
		if status >= http.StatusBadRequest {
			if e, err := errorOf(r); err != nil || e.Code != "ERR006" || !strings.Contains(e.Message, "$p") {
				t.Fatalf("%s %s: %s", method, path, r.Body)
			}
		}
		var got struct{ ID string }
		_ = json.Unmarshal(r.Body, &got)
		return got.ID
	}
	other := send(201, "POST", "/api/runtimes", `{"name":"other"}`)
	const secret = `"variables":[{"id":"1","name":"p","type":4,"required":true,"value":"hidden"},{"id":"2","name":"q","value":"1"}]`
	stored, changed := encoded("value $p"), encoded("print $p\nvalue $q")
	made := func(name string) string {
		return send(201, "POST", "/api/scripts", `{"name":"`+name+`","scriptContent":"`+stored+`",`+secret+`}`)
	}
	script := made("s")
	for name, e := range map[string]struct {
		content, more string
		status        int
	}{
		"the stored code":              {stored, ``, 202},
		"other code":                   {changed, ``, 400},
		"the code in another runtime":  {stored, `,"scriptRuntimeId":"` + other + `"`, 400},
		"other code that reads none":   {encoded("value $q"), ``, 202},
		"other code with its own":      {changed, `,` + strings.ReplaceAll(secret, "hidden", "own"), 202},
		"other code with an empty own": {changed, `,` + strings.ReplaceAll(secret, "hidden", ""), 400},
	} {
		t.Log(name)
		send(e.status, "POST", "/api/scripts/evaluation", `{"scriptId":"`+script+`","scriptContent":"`+e.content+`"`+e.more+`}`)
	}
	for name, e := range map[string]struct {
		change string
		status int // of an evaluation after it
	}{
		"another description":          {`{"description":"d"}`, 202},
		"the same again":               {`{"scriptContent":"` + stored + `",` + strings.ReplaceAll(secret, `"value":"hidden"`, `"value":null`) + `}`, 202},
		"other code":                   {`{"scriptContent":"` + changed + `"}`, 400},
		"other code and no value":      {`{"scriptContent":"` + changed + `",` + strings.ReplaceAll(secret, `"value":"hidden"`, `"value":null`) + `}`, 400},
		"another runtime":              {`{"scriptRuntimeId":"` + other + `"}`, 400},
		"another id":                   {`{"variables":[{"id":"3","name":"p","type":4,"required":true}]}`, 400},
		"another kind":                 {`{"variables":[{"id":"1","name":"p","required":true}]}`, 400},
		"another name":                 {`{"variables":[{"id":"1","name":"q","type":4,"required":true},{"id":"2","name":"p","type":4,"required":true}]}`, 400},
		"other code and the new value": {`{"scriptContent":"` + changed + `",` + secret + `}`, 202},
	} {
		t.Log(name)
		id := made(name)
		send(202, "POST", "/api/scripts/"+id+"/evaluation", `{}`) // it has the secret
		send(204, "PUT", "/api/scripts/"+id, e.change)
		send(e.status, "POST", "/api/scripts/"+id+"/evaluation", `{}`)
	}
}

// A list of many large scripts is refused, and one that leaves the contents out does
// not have them.
func TestListIsBounded(t *testing.T) {
	t.Parallel()
	s := start(t)
	h, c := login(t, s, "deployer.ours"), mustSpec(t).Client(t)
	content := encoded(strings.Repeat("#", 5<<20))
	var ids []string
	for i := range 2 {
		r := s.Send(c, "POST", prefix+"/api/scripts", h, fmt.Sprintf(`{"name":"s%d","scriptContent":%q,"variables":[{"name":"x"}]}`, i, content))
		var got struct{ ID string }
		if err := json.Unmarshal(r.Body, &got); err != nil || r.Status != 201 {
			t.Fatalf("%d %v", r.Status, err)
		}
		ids = append(ids, got.ID)
	}
	get := func(ids, query string) (int, string) {
		r := s.Send(c, "GET", prefix+"/api/scripts?ids="+ids+query, h, "")
		return r.Status, string(r.Body)
	}
	if status, body := get(ids[0]+","+ids[1], ""); status != 400 || !strings.Contains(body, "8 MiB") {
		t.Errorf("two of 5 MiB: %d %.200s", status, body)
	}
	if status, body := get(ids[0], ""); status != 200 || !strings.Contains(body, content) {
		t.Errorf("one of 5 MiB: %d, %d bytes", status, len(body))
	}
	for fields, want := range map[string]string{
		"name": `{"result":[{"name":"s0"}],"totalItems":1}`, "name,variables": `"name":"x"`, "name,scriptContent": content, "result": content, "totalItems": `{"totalItems":1}`,
	} {
		if status, body := get(ids[0], "&fields="+fields); status != 200 || !strings.Contains(body, want) {
			t.Errorf("fields=%s: %d %.200s", fields, status, body)
		}
	}
	// The history needs no contents, and so has no such bound.
	if r := s.Send(c, "GET", prefix+"/api/scripts/history?scriptids="+ids[0]+","+ids[1], h, ""); r.Status != 200 {
		t.Errorf("the history: %d %.200s", r.Status, r.Body)
	}
}
