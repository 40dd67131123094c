package remuda_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/remuda"
)

func TestShortID(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[0-9A-F]{32}$`)
	seen := map[string]bool{}
	for range 1000 {
		id := remuda.NewRuntimeID()
		short := remuda.ShortID(id)
		if !form.MatchString(short) || !remuda.IsShortID(short) || seen[short] || short != remuda.ShortID(id) {
			t.Fatalf("the short id of %s is %q", id, short)
		}
		seen[short] = true
		if tail := remuda.ShortTail(short); len(tail) < 24 || !strings.HasSuffix(string(id), tail) {
			t.Fatalf("the tail of %s is %q", id, tail)
		}
	}
	for _, id := range []string{"", "rt", "rt_", "org_global", "rt_zzzz", "rt_" + "u0000000000000000000000000000000000"} {
		if got := remuda.ShortID(id); got != "" {
			t.Errorf("the short id of %q is %q", id, got)
		}
	}
	for _, s := range []string{"", "0F35652CA7D041978BF0CBCB6753120", "0f35652ca7d041978bf0cbcb67531203", "0F35652CA7D041978BF0CBCB67531203 ", "0F35652CA7D041978BF0CBCB6753120G"} {
		if remuda.IsShortID(s) {
			t.Errorf("%q passes for a short id", s)
		}
		if tail := remuda.ShortTail(s); tail != "" {
			t.Errorf("%q has the tail %q", s, tail)
		}
	}
}
