package local

import (
	"testing"

	"github.com/remuda-run/remuda/internal/remuda"
)

// TestDiskReasonNamesBothQuotas wants a script that made too many files to be told so.
func TestDiskReasonNamesBothQuotas(t *testing.T) {
	t.Parallel()
	for mb, want := range map[int]string{
		8:   "it filled its disk of 8 MiB and 4096 files",
		256: "it filled its disk of 256 MiB and 16384 files",
	} {
		if got := diskReason(remuda.Resources{DiskMB: mb, MemoryMB: 512}); got != want {
			t.Errorf("%d MiB: %q, want %q", mb, got, want)
		}
	}
}
