package attempts

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/remuda-run/remuda/test/harness"
)

// sameKey sends a request with one key many times at once and after its end, and as a
// control without one.
func sameKey(c *cell) {
	by := c.house.a
	name := fmt.Sprint("once-", c.house.next())
	by.must(c.T, http.MethodPost, "/v1/runtimes", harness.JSON{"name": name, "language": "bash"}, nil)
	ran := func() int {
		var list struct{ Items []struct{ ID string } }
		by.must(c.T, http.MethodGet, "/v1/executions?runtime="+name, nil, &list)
		return len(list.Items)
	}
	send := func(script, key string) *answer {
		got, err := by.try(c.T, http.MethodPost, "/v1/executions?wait=30s", harness.JSON{"runtime": name, "script": script}, func(r *http.Request) {
			if key != "" {
				r.Header.Set("Idempotency-Key", key)
			}
		})
		if err != nil {
			c.Error(err)
			return new(answer)
		}
		return got
	}
	c.parallel(16, 48, func(int) error {
		if got := send("echo one", "the-key"); got.Status != http.StatusOK {
			return fmt.Errorf("%s: %.500s", got, got.Body)
		}
		return nil
	})
	once := ran()
	var first, again execution
	_ = json.Unmarshal(send("echo one", "the-key").Body, &first)
	_ = json.Unmarshal(send("echo one", "the-key").Body, &again)
	other := send("echo two", "the-key")
	send("echo one", "")
	send("echo one", "")
	if all := ran(); all != once+2 {
		c.Fatalf("%d executions after two without a key, %d before: the count means nothing", all, once)
	}
	c.holds(once == 1 && first.ID != "" && first.ID == again.ID && other.Status == http.StatusConflict, "%d execution; another body: %s", once, other)
}
