package local

import (
	"context"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// What a script leaves: every kind of entry that is handed on, and some that are
// not. The hole is larger than the disk.
const leaveFiles = `
import os, socket
os.makedirs("a/b")
open("a/b/plain", "w").write("plain text")
os.chmod("a/b/plain", 0o640)
os.utime("a/b/plain", (1_000_000_000, 1_000_000_000))
open("program", "w").write("#!/bin/sh\necho ran\n")
os.chmod("program", 0o4755)
os.symlink("/etc/passwd", "out")
os.symlink("a/b/plain", "in")
with open("sparse", "wb") as f:
    f.truncate(100 << 20)
    f.seek(50 << 20)
    f.write(b"in the middle")
os.mkfifo("fifo")
socket.socket(socket.AF_UNIX).bind("socket")
os.mkdir("locked")
open("locked/inside", "w").write("kept")
os.chmod("locked", 0o500)
open("empty", "w").close()
kept = 1
`

// What the next instance finds of it.
const findFiles = `
import os, stat, subprocess
assert "kept" not in globals(), "variables came along"
me = os.getuid()
found = []
for top, dirs, files in os.walk("."):
    for name in dirs + files:
        p = os.path.join(top, name)
        st = os.lstat(p)
        assert (st.st_uid, st.st_gid) == (me, os.getgid()), (p, st)
        found.append(p[2:])
assert sorted(found) == ["a", "a/b", "a/b/plain", "empty", "in", "locked", "locked/inside", "out", "program", "sparse"], found
assert open("in").read() == "plain text"
st = os.stat("a/b/plain")
assert stat.S_IMODE(st.st_mode) == 0o640 and st.st_mtime == 1_000_000_000, st
assert os.readlink("out") == "/etc/passwd"
assert stat.S_IMODE(os.stat("program").st_mode) == 0o755
assert subprocess.run(["./program"], capture_output=True).stdout == b"ran\n"
with open("sparse", "rb") as f:
    assert os.fstat(f.fileno()).st_size == 100 << 20
    f.seek(50 << 20)
    assert f.read(13) == b"in the middle"
assert stat.S_IMODE(os.stat("locked").st_mode) == 0o500
assert open("locked/inside").read() == "kept"
open("a/b/new", "w").write("can be written")
os.remove("program")
`

// TestWorkspaceIsHandedOn gives an instance the workspace of one that has gone.
func TestWorkspaceIsHandedOn(t *testing.T) {
	e := open(t, Options{})
	forked := upTemplate(t, e, templateSpec())
	image := templateSpec()
	image.Resources.DiskMB = 200
	for name, spec := range map[string]engine.Spec{"forked": forked, "started": templateSpec(), "on a disk image": image} {
		t.Run(name, func(t *testing.T) {
			spec.ID = remuda.NewInstanceID()
			old, err := e.Create(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			if res := execute(t, old, leaveFiles); res.State != remuda.ExecutionSuccess {
				t.Fatal(res)
			}
			spec.Workspace, err = old.(engine.Workspacer).Workspace(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := old.Destroy(t.Context()); err != nil {
				t.Fatal(err)
			}
			if res := execute(t, create(t, e, spec), findFiles); res.State != remuda.ExecutionSuccess {
				t.Error(res.Error)
			}
			if err := spec.Workspace.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWorkspaceThatIsNotHandedOn attempts what has to fail, and leaves nothing.
func TestWorkspaceThatIsNotHandedOn(t *testing.T) {
	e := open(t, Options{})
	for name, c := range map[string]struct{ script, want string }{
		"nested too deep":      {"import os\nfor _ in range(300):\n os.mkdir('d'); os.chdir('d')\n", "nested"},
		"larger than the disk": {"open('large', 'wb').write(bytes(40 << 20))", "no space"},
	} {
		t.Run(name, func(t *testing.T) {
			old := create(t, e, templateSpec())
			if res := execute(t, old, c.script); res.State != remuda.ExecutionSuccess {
				t.Fatal(res)
			}
			from, err := old.Workspace(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = from.Close() }()
			next := templateSpec()
			next.Workspace, next.Resources.DiskMB = from, 16
			inst, err := e.Create(t.Context(), next)
			if err == nil {
				_ = inst.Destroy(context.WithoutCancel(t.Context()))
			}
			if remuda.CodeOf(err) != remuda.CodePrecondition || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Create: %v, want %q", err, c.want)
			}
		})
	}
	gone := create(t, e, templateSpec())
	if err := gone.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if from, err := gone.Workspace(t.Context()); err == nil {
		_ = from.Close()
		t.Error("the workspace of a sandbox that has gone was opened")
	}
}
