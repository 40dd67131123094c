package local

import (
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/remuda-run/remuda/internal/guest"
	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

// The root of a sandbox of the environment "host": the parts of the machine's
// /usr that an interpreter needs, a made-up /etc, and nothing else. Never homes,
// /var, /root, /run, /usr/src or tools that an administrator put beside them.

// boundDirs are bound read-only with all below them.
var boundDirs = []string{
	"/usr/bin", "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/share",
	"/usr/local/bin", "/usr/local/lib", "/usr/local/share",
}

// boundEtc are the files of /etc that programs of /usr need and that say nothing
// about the machine.
var boundEtc = []string{
	"/etc/ld.so.cache", "/etc/alternatives", "/etc/ssl/certs", "/etc/ssl/openssl.cnf",
	"/etc/mime.types", "/etc/services", "/etc/protocols",
}

// hostRoot is what the launcher prepares, once. Packages come and go: what
// happens inside a bound directory shows in every sandbox at once, a directory
// or file of /etc that is new or was replaced only after a restart of the server.
func hostRoot(resolvConf string, interpreters []string) protocol.Root {
	files := syntheticEtc(resolvConf)
	for _, language := range remuda.Languages() {
		if language == remuda.LanguagePython {
			continue // compiled for each interpreter, and placed when it is first used
		}
		if driver, err := guest.Driver(language, ""); err == nil {
			files = append(files, protocol.Text{Path: driver.Path, Content: string(driver.Source)})
		}
	}
	return protocol.Root{Binds: hostBinds(interpreters), Links: hostLinks(), Files: files, Devices: devices}
}

// hostBinds lists what is there now.
func hostBinds(interpreters []string) []protocol.Bind {
	var binds []protocol.Bind
	for _, p := range slices.Concat(boundDirs, interpreters) {
		// A link would lead the bind elsewhere, such as to a home.
		if st, err := os.Lstat(p); err == nil && st.IsDir() {
			binds = append(binds, protocol.Bind{Source: p, Target: p, Optional: true})
		}
	}
	for _, p := range rootDirs { // of a /usr that is not merged
		if st, err := os.Lstat(p); err == nil && st.IsDir() {
			binds = append(binds, protocol.Bind{Source: p, Target: p, Optional: true})
		}
	}
	etc := boundEtc
	if more, err := filepath.Glob("/etc/python3*"); err == nil { // the pattern is well-formed
		etc = append(slices.Clip(etc), more...)
	}
	for _, p := range etc {
		if st, err := os.Stat(p); err == nil && (st.IsDir() || st.Mode().IsRegular()) {
			binds = append(binds, protocol.Bind{Source: p, Target: p, Optional: true})
		}
	}
	// The zone is UTC, whatever the machine's is: it says where the machine
	// stands.
	const utc = "/usr/share/zoneinfo/Etc/UTC"
	if _, err := os.Stat(utc); err == nil {
		binds = append(binds, protocol.Bind{Source: utc, Target: "/etc/localtime", Optional: true})
	}
	return binds
}

// rootDirs are links on a machine with a merged /usr and directories elsewhere.
var rootDirs = []string{"/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin"}

// hostLinks repeats the links of a merged /usr.
func hostLinks() []protocol.Link {
	var links []protocol.Link
	for _, p := range rootDirs {
		if target, err := os.Readlink(p); err == nil {
			links = append(links, protocol.Link{Target: target, Path: p})
		}
	}
	return links
}

// syntheticEtc is the same in every sandbox of a machine.
func syntheticEtc(resolvConf string) []protocol.Text {
	text := func(path, content string) protocol.Text {
		return protocol.Text{Path: path, Content: content, Mode: 0o444}
	}
	return []protocol.Text{
		text("/etc/passwd", "root:x:0:0:root:/:/usr/sbin/nologin\n"+sandboxUser+":x:1000:1000::/workspace:/bin/bash\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"),
		text("/etc/group", "root:x:0:\n"+sandboxUser+":x:1000:\nnogroup:x:65534:\n"),
		text("/etc/hosts", "127.0.0.1 localhost "+hostname+"\n::1 localhost\n"),
		text("/etc/hostname", hostname+"\n"),
		text("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n"),
		text("/etc/resolv.conf", resolvConf),
		text("/etc/host.conf", "multi on\n"),
		text("/etc/os-release", "NAME=Remuda\nID=remuda\nPRETTY_NAME=\"Remuda sandbox\"\n"),
		text("/etc/shells", "/bin/sh\n/bin/bash\n"),
	}
}

// devices are bound from the machine; pseudo-terminals are the sandbox's own.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// masks lists what of maskedPaths has to be covered on this machine: all but what
// is open to root alone. What only root of the machine may open is
// closed to every user of a sandbox's own user namespace, and each cover costs
// every start.
var masks = sync.OnceValue(func() []string {
	var open []string
	for _, p := range maskedPaths {
		st, err := os.Lstat(p)
		if rootOnly := err == nil && !st.IsDir() && st.Mode().Perm()&0o007 == 0; !rootOnly {
			open = append(open, p)
		}
	}
	return open
})

// maskedPaths are parts of /proc that tell about the machine, change it, or have
// been ways out.
var maskedPaths = []string{
	"/proc/acpi", "/proc/asound", "/proc/bus", "/proc/driver", "/proc/dynamic_debug", "/proc/fs", "/proc/irq", "/proc/scsi", "/proc/tty",
	"/proc/buddyinfo", "/proc/cmdline", "/proc/config.gz", "/proc/consoles", "/proc/crypto", "/proc/devices", "/proc/diskstats",
	"/proc/dma", "/proc/execdomains", "/proc/fb", "/proc/interrupts", "/proc/iomem", "/proc/ioports", "/proc/kallsyms", "/proc/kcore",
	"/proc/key-users", "/proc/keys", "/proc/kmsg", "/proc/kpagecgroup", "/proc/kpagecount", "/proc/kpageflags", "/proc/latency_stats",
	"/proc/locks", "/proc/mdstat", "/proc/misc", "/proc/modules", "/proc/mtrr", "/proc/pagetypeinfo", "/proc/partitions",
	"/proc/pressure", "/proc/sched_debug", "/proc/schedstat", "/proc/slabinfo", "/proc/softirqs", "/proc/swaps", "/proc/sysrq-trigger",
	"/proc/sysvipc", "/proc/timer_list", "/proc/timer_stats", "/proc/vmallocinfo", "/proc/vmstat", "/proc/zoneinfo",
}

// readOnlyPaths are parts of /proc that programs read and nobody may write.
var readOnlyPaths = []string{"/proc/sys"}
