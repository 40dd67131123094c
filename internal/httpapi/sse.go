package httpapi

import (
	"net/http"
	"strings"
)

// EventStream writes server-sent events. Every write has the deadline of its
// exchange: a reader that stands still is cut off and may come back with the id
// of the last event that it has.
type EventStream struct {
	w   http.ResponseWriter
	rc  *http.ResponseController
	buf []byte
}

// AcceptsEvents reports whether the client asks for a stream of events.
func AcceptsEvents(h http.Header) bool {
	for _, accept := range h.Values("Accept") {
		for part := range strings.SplitSeq(accept, ",") {
			kind, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(kind), "text/event-stream") {
				return true
			}
		}
	}
	return false
}

// NewEventStream answers with the header of a stream.
func NewEventStream(w http.ResponseWriter) (*EventStream, error) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // a proxy that collects would make live output late
	w.WriteHeader(http.StatusOK)
	s := &EventStream{w: w, rc: http.NewResponseController(w)}
	return s, s.rc.Flush()
}

// Add collects an event. id may be empty; data must be one line.
func (s *EventStream) Add(event, id string, data []byte) {
	if id != "" {
		s.buf = append(append(append(s.buf, "id: "...), id...), '\n')
	}
	s.buf = append(append(append(s.buf, "event: "...), event...), "\ndata: "...)
	s.buf = append(append(s.buf, data...), "\n\n"...)
}

// Heartbeat collects a comment, which keeps proxies from closing a quiet stream
// and tells us that a reader has gone.
func (s *EventStream) Heartbeat() { s.buf = append(s.buf, ":\n\n"...) }

// Flush sends what was collected.
func (s *EventStream) Flush() error {
	_, err := s.w.Write(s.buf)
	s.buf = s.buf[:0]
	if err != nil {
		return err
	}
	return s.rc.Flush()
}
