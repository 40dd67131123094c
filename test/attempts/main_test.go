package attempts

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

// apart says that this process is in a network of its own.
const apart = "REMUDA_TEST_ATTEMPTS_APART"

// ownAddress is the machine's address in there.
const ownAddress = "192.0.2.1"

// TestMain runs the tests, and with them the server, in a network namespace of
// their own: what escaped could reach hosts of the test, and nothing else.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(apart) != "" {
		if err := ownNetwork(); err != nil {
			fmt.Fprintln(os.Stderr, "set up the network of the test:", err)
			os.Exit(1)
		}
	}
	if os.Getenv(apart) != "" || os.Getuid() != 0 {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...) // the tests bound their time themselves
	cmd.Env = append(os.Environ(), apart+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState == nil {
			fmt.Fprintln(os.Stderr, "run the tests in a network namespace:", err)
		}
		os.Exit(1)
	}
	os.Exit(0)
}

// ownNetwork gives the machine of the test loopback and an address.
func ownNetwork() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	address, err := netlink.ParseAddr(ownAddress + "/32")
	if err != nil {
		return err
	}
	return netlink.AddrAdd(lo, address)
}
