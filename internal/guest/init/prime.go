package guestinit

import (
	"bytes"
	"encoding/json"

	"github.com/remuda-run/remuda/internal/guest/channel"
	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// prime does once what the first execution will do, while nobody waits: the
// first use of a message's type costs encoding/json a tenth of a millisecond,
// and every first touch of a page of ours a page fault.
func (k *keeper) prime() {
	clear(k.scratch())
	sample := []byte(`{"id":"x","script":"1","args":["a"],"parameters":{"p":1},"stdin":"aGk=","env":{"k":"v"},"timeout_ms":1,"kill_on_timeout":true,"output_limit":1}`)
	var e protocol.Execute
	if json.Unmarshal(sample, &e) != nil {
		return
	}
	_ = toRun(&e).Append(nil)
	r := &execution{output: output{limit: 1 << 10}, done: &channel.Done{OK: true, HasValue: true, JSON: []byte("1")}}
	r.add(1, sample)
	end := &protocol.End{ID: "x", State: stateSuccess}
	fillDone(end, r)
	var b bytes.Buffer
	_ = json.NewEncoder(&b).Encode(end)
	var a protocol.Ack
	_ = json.Unmarshal([]byte(`{"id":"x","seq":1}`), &a)
}
