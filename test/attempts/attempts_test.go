package attempts

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
)

var (
	full   = flag.Bool("full", false, "try in full numbers, and judge the noisy neighbour by its figures")
	update = flag.Bool("update", false, "write the table into docs/security.md")
)

// count is how often something is tried: in the full form, in the short one.
func count(inFull, inShort int) int {
	if *full {
		return inFull
	}
	return inShort
}

// row is one attempt.
type row struct {
	id       string // of the list of attempts, such as K04
	attempt  string
	expected string
	places   []place // where it is tried
	try      func(*cell)
	alone    bool // it would disturb others, or is disturbed by them
}

// rows lists every row, in the order of the table.
func rows() []row {
	return slices.Concat(resourceRows(), processRows(), kernelRows(), fileRows(), networkRows(), egressRows(), poolRows(), hostileRows(), apiRows(), tenancyRows())
}

func TestAttempts(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test makes real sandboxes and must be run as root")
	}
	list := rows()
	h := openHouse(t)
	results := new(table)
	t.Run("rows", func(t *testing.T) {
		for _, r := range list {
			t.Run(r.id+" "+r.attempt, func(t *testing.T) {
				if !r.alone {
					t.Parallel()
				}
				for _, p := range r.places {
					t.Run(p.String(), func(t *testing.T) { results.try(t, h, r, p) })
				}
			})
		}
	})
	text := results.render(list)
	fmt.Println(text)
	if *update && !t.Failed() {
		writeTable(t, text)
	}
}
