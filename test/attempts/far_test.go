package attempts

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// theFar makes the far host once.
func (c *cell) theFar() {
	c.Helper()
	_, err := shared(c.house, "far host", func() (bool, error) { return true, c.makeFar() })
	if err != nil {
		c.Fatal(err)
	}
}

func (c *cell) makeFar() error {
	program, err := programs.ReadFile("programs/far.py")
	if err != nil {
		return err
	}
	cmd := exec.Command("python3", slices.Concat([]string{"-c", string(program), farHost, farNext, farHost6}, forbidden)...) // it ends with its standard input
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	c.house.cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait() // it is told to end
	})
	if err := connectFar(cmd.Process.Pid); err != nil {
		return err
	}
	_, err = bufio.NewReader(stdout).ReadString('\n')
	go func() { _, _ = io.Copy(io.Discard, stdout) }() // ends with the process
	return err
}

// connectFar lays a cable between the machine of the test and the far host.
func connectFar(pid int) error {
	space, err := netns.GetFromPid(pid)
	if err != nil {
		return err
	}
	defer space.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = farLink
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(space))}); err != nil {
		return err
	}
	far, err := netlink.NewHandleAt(space)
	if err != nil {
		return err
	}
	defer far.Close()
	here, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	defer here.Close()
	if err := address(here, farLink, farHere+"/24", farHere6+"/64"); err != nil {
		return err
	}
	if err := address(far, "eth0", farHost+"/24", farNext+"/24", farHost6+"/64"); err != nil {
		return err
	}
	all := make([]string, 0, len(forbidden))
	for _, a := range forbidden {
		all = append(all, single(a))
	}
	if err := address(far, "lo", all...); err != nil {
		return err
	}
	return routes(here, far)
}

func single(address string) string {
	if strings.Contains(address, ":") {
		return address + "/128"
	}
	return address + "/32"
}

// address gives a link addresses and sets it up.
func address(h *netlink.Handle, name string, addresses ...string) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	for _, text := range addresses {
		a, err := netlink.ParseAddr(text)
		if err != nil {
			return err
		}
		if strings.Contains(text, ":") {
			a.Flags = 2 // IFA_F_NODAD: at once
		}
		if err := h.AddrAdd(link, a); err != nil {
			return fmt.Errorf("address %s: %w", text, err)
		}
	}
	return h.LinkSetUp(link)
}

// routes lead all but the machine's own to the far host, and answers back.
func routes(here, far *netlink.Handle) error {
	for h, gateways := range map[*netlink.Handle][]string{here: {farHost, farHost6}, far: {farHere, farHere6}} {
		for _, gateway := range gateways {
			if err := h.RouteAdd(&netlink.Route{Gw: net.ParseIP(gateway)}); err != nil {
				return fmt.Errorf("route by %s: %w", gateway, err)
			}
		}
	}
	return nil
}
