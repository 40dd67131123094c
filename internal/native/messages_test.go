package native

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/client"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

// speech says messages, a few at a time: message i is in record i/3+1, so that
// several share a record, as lines do.
func speech(count, records int) func(remuda.StreamPage) saying {
	return func(page remuda.StreamPage) saying {
		said := saying{next: page.After}
		for i := range count {
			seq := int64(i/3 + 1)
			if seq > page.After && seq <= page.After+int64(records) {
				said.records = append(said.records, remuda.StreamRecord{Seq: seq, Time: day, Message: fmt.Sprint("message ", i)})
				said.next = seq
			}
		}
		said.ended = len(said.records) == 0 || said.records[len(said.records)-1].Message == fmt.Sprint("message ", count-1)
		return said
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	const url = "GET /v1/executions/ex_1/streams/warning"
	events := []string{"Accept", "text/event-stream"}
	id, none := remuda.ExecutionID("ex_1"), remuda.StreamPage{}
	runScenarios(t, httpapi.Options{}, []scenario{
		{
			name: "page", stage: stage{say: speech(4, 9)}, request: url, status: 200, asked: []any{id, remuda.StreamWarning, none},
			want: []string{`"records":[{"message":"message 0","seq":1,"time":"2026-11-22T08:00:00.123456Z"},`, `"next":2`, `"ended":true`},
		},
		{name: "some", request: url + "?after=2&last=3&limit=4", status: 200, want: []string{`"records":[]`, `"next":2`}, asked: []any{id, remuda.StreamWarning, remuda.StreamPage{After: 2, Last: 3, Max: 4}}},
		{name: "no such stream", request: "GET /v1/executions/ex_1/streams/warnings", status: 400, want: []string{`"field":"stream","message":"must be one of information, error, warning, debug, verbose, not \"warnings\""`}},
		{name: "output is no stream of messages", request: "GET /v1/executions/ex_1/streams/stdout", status: 400, want: []string{`"field":"stream"`}},
		{name: "wrong page", request: url + "?after=-1&last=0&limit=10001&wait=x", status: 400, want: []string{`"field":"after"`, `"field":"last","message":"must be at least 1, not 0"`, `"field":"limit"`}},
		{name: "absent", stage: fail(remuda.CodeNotFound), request: url, status: 404},
		{name: "absent, as events", stage: fail(remuda.CodeNotFound), request: url, header: events, status: 404},
		{
			name: "events", stage: stage{say: speech(4, 1), final: true}, request: url, header: events, status: 200,
			want: []string{"Content-Type: text/event-stream", "event: message\ndata: {\"message\":\"message 0\",\"seq\":1,\"time\":\"2026-11-22T08:00:00.123456Z\"}\n\nevent: message\n", "id: 1\nevent: message\ndata: {\"message\":\"message 2\"", "id: 2\nevent: message\ndata: {\"message\":\"message 3\"", "\n\nevent: end\ndata: {"},
		},
		{name: "events from an id", stage: stage{say: speech(4, 1), final: true}, request: url + "?last=1", header: append(events, "Last-Event-ID", "1"), status: 200, want: []string{"message 3", "event: end"}, never: []string{"message 2"}, asked: []any{id}},
		{
			name: "objects", request: "GET /v1/executions/ex_1/objects", status: 200, asked: []any{id},
			want: []string{`"objects":[{"interfaces":["numbers.Number"],"type":"builtins.int","value":1},{"interfaces":[],"type":"NoneType","value":null},{"interfaces":[],"type":"","value":"{\"Value\":"},{"interfaces":[],"type":"","value":"[1]"},`, `"ended":true`},
		},
		{name: "text", request: "GET /v1/executions/ex_1/text", status: 200, want: []string{`{"ended":true,"text":"hello\n42"}`}, asked: []any{id}},
	})
}

// TestMessagesAreWaitedFor wants a page to come with the first message, whatever else
// the execution says before, and to be empty when the time is over.
func TestMessagesAreWaitedFor(t *testing.T) {
	t.Parallel()
	chatter := func(after int64) remuda.OutputPage { // other streams, up to record 5
		return remuda.OutputPage{Records: threeRecords[:1], Next: min(after+2, 5)}
	}
	asked := 0
	late := stage{output: chatter, say: func(page remuda.StreamPage) saying {
		if asked++; asked < 4 {
			return saying{next: page.After}
		}
		return saying{records: []remuda.StreamRecord{{Seq: 5, Message: "at last"}}, next: 5}
	}}
	silent := stage{output: chatter, say: func(page remuda.StreamPage) saying { return saying{next: page.After} }}
	runScenarios(t, httpapi.Options{}, []scenario{
		{name: "one comes", stage: late, request: "GET /v1/executions/ex_1/streams/debug?wait=1m", status: 200, want: []string{`"message":"at last"`, `"time":null`, `"next":5`, `"ended":false`}},
		{name: "none comes", stage: silent, request: "GET /v1/executions/ex_1/streams/debug?wait=10ms", status: 200, want: []string{`"records":[]`, `"ended":false`}},
	})
}

// TestMessagesSurviveDisconnects cuts the connection in the middle of anything and
// wants every message exactly once, in order.
func TestMessagesSurviveDisconnects(t *testing.T) {
	t.Parallel()
	const count, cuts = 600, 60
	st := stage{say: speech(count, 2), final: true}
	cut := &cutter{Handler: st.bare(t, httpapi.Options{})}
	cut.left.Store(cuts)
	c := connect(t, cut)
	var got, want []string
	for i := range count {
		want = append(want, fmt.Sprint("message ", i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ex, err := c.FollowStream(ctx, "ex_1", client.StreamWarning, 0, func(r client.StreamRecord) error {
		got = append(got, r.Message)
		return nil
	})
	if err != nil || ex.Id != "ex_1" {
		t.Fatalf("%+v, %v", ex, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages were lost, doubled or disordered (-want +got):\n%s", diff)
	}
	if n := cut.cuts.Load(); n < 5 {
		t.Errorf("only %d connections were cut", n)
	}
	full := errors.New("full")
	if _, err := c.FollowStream(ctx, "ex_1", client.StreamWarning, 0, func(client.StreamRecord) error { return full }); !errors.Is(err, full) {
		t.Errorf("the sink's error is lost: %v", err)
	}
}

// FuzzObject shows what a sandbox may have sent as an object: it is always JSON in
// UTF-8, and nothing of it can break out of its place in the answer.
func FuzzObject(f *testing.F) {
	f.Add(`{"TypeName":"builtins.int","Interfaces":["a"],"Value":1}`)
	f.Add(`{"TypeName":"x","Value":"\xff"}`)
	f.Add(`{"Value":1}}],"ended":true`)
	f.Fuzz(func(t *testing.T, text string) {
		raw, err := json.Marshal(objectWire(text))
		if err != nil {
			t.Fatalf("%q cannot be shown: %v", text, err)
		}
		var back api.OutputObject
		if err := json.Unmarshal(raw, &back); err != nil || back.Interfaces == nil || !utf8.Valid(raw) {
			t.Errorf("%q is shown as %s: %v", text, raw, err)
		}
	})
}
