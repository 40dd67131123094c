package attempts

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/remuda-run/remuda/test/harness"
)

// stream opens a stream of events.
func (a *tenant) stream(ctx context.Context, id string, after int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/v1/executions/%s/output?after=%d", a.base(), id, after), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+a.token)
	return a.http.Do(req)
}

// slowReader takes almost nothing while the script writes much.
func slowReader(c *cell) {
	b := c.open("python", roomy)
	var ex execution
	b.by.must(b.T, http.MethodPost, "/v1/executions", harness.JSON{"runtime": b.runtime, "script": "import sys\nfor i in range(6000): sys.stdout.write('%07d ' % i + 'x' * 992)\n"}, &ex)
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	resp, err := b.by.stream(ctx, ex.ID, 0)
	if err != nil {
		c.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 100)); err != nil {
		c.Fatal(err)
	}
	var done execution
	b.by.must(b.T, http.MethodGet, "/v1/executions/"+ex.ID+"?wait=120s", nil, &done)
	o := &outcome{t: c.T, execution: done}
	if err := o.read(b.by); err != nil {
		c.Fatal(err)
	}
	c.holds(done.State == "success" && len(o.stdout) == 6000*1000, "%s with %d bytes while the reader stood still", done.State, len(o.stdout))
}

// cutReader reads a little, is cut off, and goes on where it was.
func cutReader(c *cell) {
	b := c.open("python", roomy)
	const lines = 2000
	var ex execution
	b.by.must(b.T, http.MethodPost, "/v1/executions", harness.JSON{"runtime": b.runtime, "script": fmt.Sprintf("import time\nfor i in range(%d):\n    print(i, flush=True)\n    if i %% 20 == 0: time.sleep(0.02)", lines)}, &ex)
	var after, cuts int64
	var events []string
	for ended := false; !ended; cuts++ {
		if cuts > 2*lines {
			c.Fatal("the stream does not end")
		}
		events, after, ended = c.someEvents(b.by, ex.ID, after, events)
	}
	var done execution
	b.by.must(b.T, http.MethodGet, "/v1/executions/"+ex.ID+"?wait=60s", nil, &done)
	o := &outcome{t: c.T, execution: done}
	if err := o.read(b.by); err != nil {
		c.Fatal(err)
	}
	want := ""
	for i := range lines {
		want += fmt.Sprintln(i)
	}
	c.Logf("cut %d times", cuts)
	c.holds(o.stdout == want && int64(len(events)) == after, "%d records in order, none twice, none lost", len(events))
}

// someEvents reads up to five events and cuts the stream.
func (c *cell) someEvents(by *tenant, id string, after int64, events []string) ([]string, int64, bool) {
	c.Helper()
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	resp, err := by.stream(ctx, id, after)
	if err != nil {
		c.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for read := 0; read < 5 && lines.Scan(); {
		line := lines.Text()
		if line == "event: end" {
			return events, after, true
		}
		if number, ok := strings.CutPrefix(line, "id: "); ok {
			var n int64
			if _, err := fmt.Sscan(number, &n); err != nil || n != after+1 {
				c.escape("record %s follows %d", number, after)
				return events, after, true
			}
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			events = append(events, data)
			after++
			read++
		}
	}
	return events, after, false
}

// hangUps cuts connections at every point of a request.
func hangUps(c *cell) {
	base, err := url.Parse(c.house.server.Base)
	if err != nil {
		c.Fatal(err)
	}
	body := `{"runtime":"bash","script":"true"}`
	request := fmt.Sprintf("POST /v1/executions?wait=10s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", c.house.a.token, len(body), body)
	n := count(1000, 120)
	for i := range n {
		conn, err := net.Dial("tcp", base.Host)
		if err != nil {
			c.Fatal(err)
		}
		_, err = io.WriteString(conn, request[:1+i*(len(request)-1)/(n-1)])
		_ = conn.Close()
		if err != nil {
			c.Fatal(err)
		}
	}
	finish(c.T, c.house.b, "/v1/executions", harness.JSON{"runtime": "python", "script": "print('well')"}).ok().says("well")
	c.holds(true, "it goes on after %d", n)
}
