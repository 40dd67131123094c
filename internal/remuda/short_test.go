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

// TestUUID finds identifiers again between the ends that their UUIDs name.
func TestUUID(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	var before string
	for range 1000 {
		id := remuda.NewExecutionID()
		uuid := remuda.UUID(id)
		if !form.MatchString(uuid) {
			t.Fatalf("the UUID of %s is %q", id, uuid)
		}
		first, last := remuda.UUIDRange(remuda.PrefixExecution, strings.ToUpper(uuid))
		if !remuda.IsID(remuda.PrefixExecution, first) || !remuda.IsID(remuda.PrefixExecution, last) || string(id) < first || string(id) > last || remuda.UUID(first) != uuid || remuda.UUID(last) != uuid {
			t.Fatalf("%s, which is %s, is looked for from %q to %q", uuid, id, first, last)
		}
		if before >= first && before <= last {
			t.Fatalf("%s stands for %s too", uuid, before)
		}
		before = string(id)
	}
	for _, id := range []string{"", "ex", "ex_", "org_global", "ex_zzzz"} {
		if got := remuda.UUID(id); got != "" {
			t.Errorf("the UUID of %q is %q", id, got)
		}
	}
	for _, s := range []string{"", "invalid", "0f35652c-a7d0-4197-8bf0-cbcb6753120", "0f35652ca7d041978bf0cbcb675312030000", "0f35652c-a7d0-4197-8bf0-cbcb6753120g", "-f35652c-a7d0-4197-8bf0-cbcb67531203"} {
		if first, last := remuda.UUIDRange("ex", s); first != "" || last != "" {
			t.Errorf("%q stands for %q to %q", s, first, last)
		}
	}
}
