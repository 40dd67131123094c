package httpapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
)

var answers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// keptAnswer is the largest buffer that goes back to the pool.
const keptAnswer = 64 << 10

var jsonType = []string{"application/json"}

// WriteJSON answers with v. An error is returned, and nothing written, when v
// cannot be encoded.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	buf := answers.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= keptAnswer {
			buf.Reset()
			answers.Put(buf)
		}
	}()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(buf.Len())}
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes()) // a client that went away is not an error of ours
	return nil
}
