package layer

import (
	"context"
	"fmt"

	"github.com/remuda-run/remuda/internal/remuda"
)

// pack makes one file of the tree. Names are sorted so that the same tree makes
// the same file; everything else is made equal when it is unpacked.
const pack = `cd /workspace && mkdir -p tree && chmod -R u+rwX tree && tar --sort=name --format=posix --pax-option=delete=atime,delete=ctime --owner=0 --group=0 --numeric-owner -C tree -cf tree.tar .`

// take brings the tree of a sandbox into a draft.
func (m *Maker) take(ctx context.Context, s *sandbox, d *draft) error {
	res, err := s.run(ctx, pack, nil)
	if err != nil {
		return err
	}
	if res.State != remuda.ExecutionSuccess {
		return s.explain("packing the tree")
	}
	info, r, err := s.inst.Files().Read(ctx, "tree.tar", int64(m.resources().DiskMB)<<20)
	if err != nil {
		return broken("the tree cannot be taken", err)
	}
	defer func() { _ = r.Close() }()
	if err := d.reserve(info.Size); err != nil {
		return err
	}
	if err := d.unpack(r); full(err) {
		return keepError(err)
	} else if err != nil {
		return broken("the tree cannot be taken", fmt.Errorf("unpack: %w", err))
	}
	return nil
}
