package cgroup

import (
	"os"
	"strings"
	"testing"
)

// The hierarchy is there as long as somebody has it, and no longer.
func TestFavorMoves(t *testing.T) {
	first, err := FavorMoves()
	if err != nil {
		t.Skipf("this kernel does not have it: %v", err)
	}
	second, err := FavorMoves()
	if err != nil {
		t.Fatal(err)
	}
	there := func() bool {
		b, err := os.ReadFile("/proc/self/cgroup")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(b), "name="+movesName+":")
	}
	if err := first.Close(); err != nil || !there() {
		t.Errorf("the hierarchy is there: %v (%v)", there(), err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), movesName) {
		t.Errorf("it is mounted (%v)", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}
