package survive

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cutOffs is how often a reader is cut off.
const cutOffs = 1000

// A reader that follows an execution and is cut off a thousand times, at moments
// that it does not choose, goes on with Last-Event-ID or after and has every byte
// once. The server is killed among these.
func TestReaderCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	running := w.spaces[0].running
	var got strings.Builder
	var last int64
	cut := 0
	for cut < cutOffs {
		switch cut {
		case cutOffs / 3:
			w.Kill()
			w.up()
		case cutOffs / 2:
			w.Kill()
			w.up()
		}
		ended, err := readSome(w, running, &last, &got, cut%2 == 0, rand.N(4))
		if err != nil {
			t.Fatalf("after %d cuts: %v", cut, err)
		}
		if ended {
			t.Fatal("the script has ended by itself")
		}
		cut++
	}
	read := got.Len()
	w.finish() // which proves that the record is whole
	for ended := false; !ended; {
		var err error
		if ended, err = readSome(w, running, &last, &got, true, 1<<30); err != nil {
			t.Fatal(err)
		}
	}
	want, _ := w.Output(running)
	if got.String() != want {
		t.Errorf("the reader has %d bytes, want %d: %s", got.Len(), len(want), firstOdd(got.String(), want))
	}
	t.Logf("%d cuts in the first %d of %d bytes: 0 are lost", cut, read, len(want))
	w.close()
}

// readSome reads so many events, cuts the connection off in the middle of the next,
// and notes what was read whole.
func readSome(w *world, execution string, last *int64, got *strings.Builder, byHeader bool, events int) (ended bool, err error) {
	c, err := net.Dial("tcp", strings.TrimPrefix(w.Base, "http://"))
	if err != nil {
		return false, err
	}
	defer func() {
		_ = c.(*net.TCPConn).SetLinger(0) // it is reset, not closed
		_ = c.Close()
	}()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return false, err
	}
	path, header := fmt.Sprintf("/v1/executions/%s/output?after=%d", execution, *last), ""
	if byHeader {
		path, header = "/v1/executions/"+execution+"/output", fmt.Sprintf("Last-Event-ID: %d\r\n", *last)
	}
	_, err = fmt.Fprintf(c, "GET %s HTTP/1.0\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n%s\r\n", path, w.Token, header)
	if err != nil {
		return false, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return false, fmt.Errorf("the server answered %s", answer.Status)
	}
	body := bufio.NewReader(answer.Body)
	for range events {
		e, err := readEvent(body)
		if err != nil {
			return false, err
		}
		if e.kind == "end" {
			return true, nil
		}
		if e.id != *last+1 {
			return false, fmt.Errorf("event %d follows %d", e.id, *last)
		}
		*last = e.id
		got.WriteString(e.data)
	}
	_, err = body.ReadByte() // and no more of what comes
	return false, err
}

type event struct {
	id         int64
	kind, data string
}

// readEvent reads one event whole.
func readEvent(body *bufio.Reader) (e event, err error) {
	for {
		line, err := body.ReadString('\n')
		if err != nil {
			return e, err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case line == "\n" && e.kind != "":
			return e, nil
		case name == "id":
			if e.id, err = strconv.ParseInt(value, 10, 64); err != nil {
				return e, err
			}
		case name == "event":
			e.kind = value
		case name == "data" && e.kind == "output":
			var r struct {
				Data   string
				Base64 string `json:"data_base64"`
			}
			if err := json.Unmarshal([]byte(value), &r); err != nil {
				return e, err
			}
			raw, err := base64.StdEncoding.DecodeString(r.Base64)
			if err != nil {
				return e, err
			}
			e.data = r.Data + string(raw)
		}
	}
}
