//go:build vm

package vm

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// silence is several times as long as the tests in the machine take that tell of
// their end together, those of one group of the conformance suite. An emulated
// machine has been seen to hang, with and without its processors busy.
var silence = flag.Duration("silence", 6*time.Minute, "how long the machine may say nothing before it counts as hanging")

// bootMachine boots a snapshot of the image in imageDir with the payload
// directory as its second disk and returns the lines of the report. The machine
// turns itself off; ctx is the limit for a machine that does not. One that says nothing
// for as long as silence hangs: it is asked what it does and ended, and that is a
// failure, ours or not.
func bootMachine(ctx context.Context, t *testing.T, imageDir, payloadDir string) []string {
	t.Helper()
	dir := t.TempDir()
	initrd := filepath.Join(dir, "initrd")
	writeInitrd(t, initrd, filepath.Join(payloadDir, "guest"), filepath.Join(imageDir, "modules"))
	payloadDisk := filepath.Join(dir, "payload.ext4")
	makeDisk(ctx, t, payloadDisk, payloadDir)
	console := filepath.Join(dir, "console.log")
	monitor, theirs := socketPair(t)

	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-chardev", "socket,id=monitor,fd=3", "-mon", "chardev=monitor,mode=readline",
		"-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3G",
		"-kernel", filepath.Join(imageDir, "vmlinuz"), "-initrd", initrd,
		"-append", "console=ttyS0 loglevel=4 panic=-1 random.trust_cpu=on mitigations=off nokaslr unknown_nmi_panic",
		"-drive", "file="+filepath.Join(imageDir, "root.ext4")+",format=raw,if=virtio,snapshot=on,cache=unsafe",
		"-drive", "file="+payloadDisk+",format=raw,if=virtio,readonly=on",
		"-serial", "file:"+console, "-serial", "file:/dev/stdout",
	)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir) // of the snapshot
	cmd.ExtraFiles = []*os.File{theirs}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the machine: %v", err)
	}
	_ = theirs.Close() // the machine has its own
	asked := make(chan struct{})
	hung := time.AfterFunc(*silence, func() {
		defer close(asked)
		t.Errorf("the machine has said nothing for %v and is ended; it was at:\n%s", *silence, interrogate(monitor))
		_ = cmd.Process.Kill() // it may have ended
	})
	lines := readReport(t, stdout, func() {
		if hung.Stop() { // what hangs may say one thing more when it is asked
			hung.Reset(*silence)
		}
	})
	if !hung.Stop() {
		<-asked
	}
	err = cmd.Wait()
	if err != nil || t.Failed() || len(lines) == 0 {
		t.Errorf("the machine ended with %v (%v)\n%s\n--- its console:\n%s", err, ctx.Err(), complaints.String(), tail(console, 16<<10))
	}
	return lines
}

// socketPair is a connection: one end for this process, and one for another.
func socketPair(t *testing.T) (net.Conn, *os.File) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = conn.Close(), theirs.Close() })
	return conn, theirs
}

// interrogate asks the monitor of a machine that hangs where its processors are,
// and has them interrupted: the kernel panics and tells the rest on its console.
func interrogate(monitor net.Conn) string {
	const patience = 20 * time.Second
	_ = monitor.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(monitor, "info status\ninfo registers -a\ninfo lapic\ninfo pic\nnmi\n"); err != nil {
		return err.Error()
	}
	said, err := io.ReadAll(monitor) // it ends with the machine, or after patience
	// What is typed is echoed letter by letter, with the codes of a terminal.
	text := strings.NewReplacer("\x1b[K", "", "\x1b[D", "", "\r", "").Replace(string(said))
	return fmt.Sprintf("%s\n(%v)", text, err)
}

// readReport collects the lines of the report and shows them as they come, so
// that the log of a run tells where it hangs.
func readReport(t *testing.T, r io.Reader, heard func()) []string {
	t.Helper()
	var lines []string
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		line := strings.TrimRight(scan.Text(), "\r")
		lines = append(lines, line)
		heard()
		fmt.Printf("vm| %s\n", line)
	}
	if err := scan.Err(); err != nil {
		t.Errorf("read the report: %v", err)
	}
	return lines
}

func tail(name string, limit int) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-limit):])
}

// makeDisk makes an ext4 image with the content of dir, without mounting it.
func makeDisk(ctx context.Context, t *testing.T, name, dir string) {
	t.Helper()
	var size int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	blocks := fmt.Sprintf("%dM", size>>20+size>>23+32)
	out, err := exec.CommandContext(ctx, "/usr/sbin/mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", dir, name, blocks).CombinedOutput()
	if err != nil {
		t.Fatalf("make the payload disk: %v\n%s", err, out)
	}
}

// writeInitrd writes an initial RAM file system in cpio's "newc" form, which the
// kernel documents under driver-api/early-userspace.
func writeInitrd(t *testing.T, name, initProgram, modulesDir string) {
	t.Helper()
	var b bytes.Buffer
	inode := 0
	add := func(path string, mode int, content []byte) {
		inode++
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
			inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path)+1, 0, path)
		pad(&b)
		b.Write(content)
		pad(&b)
	}
	const directory, file = 0o040755, 0o100755
	add("modules", directory, nil)
	add("init", file, mustRead(t, initProgram))
	modules, err := filepath.Glob(filepath.Join(modulesDir, "*.ko"))
	if err != nil || len(modules) == 0 {
		t.Fatalf("the image has no modules in %s (%v)", modulesDir, err)
	}
	for _, m := range modules {
		add("modules/"+filepath.Base(m), file, mustRead(t, m))
	}
	add("TRAILER!!!", 0, nil)
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func pad(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}

func mustRead(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
