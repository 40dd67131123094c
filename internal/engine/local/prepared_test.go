package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// attempts to write to what all sandboxes share. Each prints its number when it
// succeeds; "able" shows that the shell has its powers.
const attempts = `
cd /
exec 2>/dev/null
mount -o remount,rw / && echo 1
mount -o remount,bind,rw / && echo 2
mount -o remount,bind,rw /usr/bin && echo 3
umount -l /usr/bin && echo 4
true >/written && echo 5
true >>/etc/passwd && echo 6
chmod 777 /etc/passwd && echo 7
chown 0:0 /etc && echo 8
ln /etc/passwd /etc/linked && echo 9
true >>/run/remuda/driver.sh && echo 10
rm -f /etc/hosts && echo 11
chmod 666 /dev/null && echo 12
mount --bind / /home && { mount -o remount,bind,rw /home && echo 13; true >/home/written && echo 14; umount /home; }
mount -t tmpfs none /home && umount /home && echo able
echo done
`

// inside runs a shell in the namespaces of a keeper with every capability of its
// user namespace, as the keeper itself has before it drops them.
func inside(t *testing.T, pid int, root string) string {
	t.Helper()
	target := fmt.Sprint(pid)
	cmd := exec.Command("nsenter", "--target", target, "--user", "--mount", "--setuid", "0", "--setgid", "0", "--root="+fmt.Sprintf("/proc/%d/root%s", pid, root), "/bin/sh", "-c", attempts)
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin"}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("enter the sandbox: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// TestPreparedRootCannotBeWritten tries it as a script, as the keeper of a blank
// and as the keeper of an instance.
func TestPreparedRootCannotBeWritten(t *testing.T) {
	if _, err := exec.LookPath("nsenter"); err != nil {
		t.Skip("there is no nsenter")
	}
	e := open(t, Options{Blanks: -1})
	b, err := e.makeBlank(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.destroy(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if got := inside(t, b.proc.pid, protocol.PreparedRoot); got != "able\ndone" {
		t.Errorf("in a blank these succeed: %q", got)
	}
	created, err := e.Create(t.Context(), engine.Spec{ID: remuda.NewInstanceID(), Language: remuda.LanguageBash, Resources: remuda.Resources{CPU: 1, MemoryMB: 64, DiskMB: 8, Pids: 16}})
	if err != nil {
		t.Fatal(err)
	}
	inst := created.(*Instance)
	if got := inside(t, inst.blank.proc.pid, ""); got != "able\ndone" {
		t.Errorf("in an instance these succeed: %q", got)
	}
	var out strings.Builder
	res, err := inst.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: attempts}, func(r remuda.OutputRecord) error {
		out.Write(r.Data)
		return nil
	})
	if err != nil || res.State != remuda.ExecutionSuccess || strings.TrimSpace(out.String()) != "done" {
		t.Errorf("a script: %v %+v, these succeed: %s", err, res, &out)
	}
	// The old mounts are gone, and what is mounted over cannot be lifted.
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", inst.blank.proc.pid))
	if err != nil {
		t.Fatal(err)
	}
	procs := 0
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if f[4] == "/" && !strings.HasPrefix(f[5], "ro,") || strings.HasPrefix(f[4], protocol.PreparedRoot) {
			t.Errorf("mount %s", line)
		}
		if f[4] == "/proc" {
			procs++
		}
	}
	if procs != 1 {
		t.Errorf("%d file systems at /proc:\n%s", procs, mounts)
	}
	if err := inst.Destroy(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestNewDriverReplacesBlanks has the root change between the making of a blank
// and its use. Whoever creates does not wait for the end of the old one.
func TestNewDriverReplacesBlanks(t *testing.T) {
	e := open(t, Options{Blanks: 1})
	e.stock.fill()
	stale := <-e.stock.ready
	e.stock.ready <- stale // has room: no other one was asked for
	era := e.launcher.Era()
	isCreated := make(chan struct{})
	e.stock.destroy = func(b *blank, ctx context.Context) error {
		<-isCreated
		return b.destroy(ctx)
	}
	e.launcher.Place("/run/remuda/more", "text")
	e.launcher.Place("/run/remuda/more", "text") // changes nothing
	inst, err := e.Create(t.Context(), engine.Spec{ID: remuda.NewInstanceID(), Language: remuda.LanguageBash, Resources: remuda.Resources{CPU: 1, MemoryMB: 64, DiskMB: 8, Pids: 16}})
	if err != nil {
		t.Fatal(err)
	}
	close(isCreated)
	e.stock.useless.Wait()
	if inst.(*Instance).blank == stale || !stale.proc.Exited() {
		t.Error("a blank without the new file was used or is left")
	}
	res, err := inst.Execute(t.Context(), engine.Request{ID: remuda.NewExecutionID(), Script: `test "$(</run/remuda/more)" = text`}, nil)
	if err != nil || res.State != remuda.ExecutionSuccess || e.launcher.Era() != era+1 {
		t.Errorf("%+v, %v, era %d", res, err, e.launcher.Era())
	}
	if err := inst.Destroy(t.Context()); err != nil {
		t.Error(err)
	}
}
