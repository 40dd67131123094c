package keeper

import (
	"testing"

	"github.com/remuda-run/remuda/internal/remuda"
)

// TestDiskReasonNamesBothQuotas wants a script that made too many files to be told so.
func TestDiskReasonNamesBothQuotas(t *testing.T) {
	t.Parallel()
	const want = "it filled its disk of 8 MiB and 4096 files"
	if got := diskReason(remuda.Resources{DiskMB: 8, MemoryMB: 512}, 4096); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
