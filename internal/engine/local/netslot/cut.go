package netslot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	mdnetlink "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// cut ends the connections of a slot to the addresses that gone matches. The
// rules refuse their packets already; here both ends learn of it at once, and
// the kernel forgets them.
func (a *Attached) cut(gone func(netip.Addr) bool) error {
	return errors.Join(a.abort(gone), a.forget(gone))
}

// flows matches connections of one slot.
type flows struct {
	v4, v6 netip.Addr
	gone   func(netip.Addr) bool
}

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (f flows) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	from, ok := netip.AddrFromSlice(flow.Forward.SrcIP)
	if from = from.Unmap(); !ok || from != f.v4 && from != f.v6 {
		return false
	}
	to, ok := netip.AddrFromSlice(flow.Forward.DstIP)
	return ok && f.gone(to.Unmap())
}

// tracking returns a handle on the router's table of connections.
func (a *Attached) tracking() (*netlink.Handle, error) {
	h, err := netlink.NewHandleAt(netns.NsHandle(a.router.space.fd()), unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("speak to conntrack: %w", err)
	}
	return h, nil
}

// tries bounds how often a table that changes meanwhile is read again.
const tries = 5

// forget removes connections from the kernel's table.
func (a *Attached) forget(gone func(netip.Addr) bool) error {
	h, err := a.tracking()
	if err != nil {
		return err
	}
	defer h.Close()
	for _, version := range versions {
		for range tries {
			_, err = h.ConntrackDeleteFilters(netlink.ConntrackTable, version, flows{a.slot.v4, a.slot.v6, gone})
			if !errors.Is(err, netlink.ErrDumpInterrupted) {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("forget connections: %w", err)
		}
	}
	return nil
}

// connections counts those in the kernel's table.
func (a *Attached) connections(which func(netip.Addr) bool) (int, error) {
	h, err := a.tracking()
	if err != nil {
		return 0, err
	}
	defer h.Close()
	match, n := flows{a.slot.v4, a.slot.v6, which}, 0
	for _, version := range versions {
		list, err := h.ConntrackTableList(netlink.ConntrackTable, version)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return 0, fmt.Errorf("read the table of connections: %w", err)
		}
		for _, flow := range list {
			if match.MatchConntrackFlow(flow) {
				n++
			}
		}
	}
	return n, nil
}

// The kernel's questions about sockets (linux/inet_diag.h, linux/sock_diag.h).
const (
	sockDiagByFamily = 20
	sockDestroy      = 21
	diagRequestSize  = 56
	diagMessageSize  = 72
	diagID           = 4  // where a message has the socket's identity
	diagRequestID    = 8  // where a request has it
	diagIDSize       = 48 // ports, addresses, interface, cookie
)

// abort ends the sandbox's TCP sockets that lead where gone matches, so that a
// script that waits for one learns of it. A kernel without that ability leaves
// them: they carry nothing any more.
func (a *Attached) abort(gone func(netip.Addr) bool) error {
	conn, err := mdnetlink.Dial(unix.NETLINK_INET_DIAG, &mdnetlink.Config{NetNS: a.inside.fd()})
	if err != nil {
		return fmt.Errorf("look for open sockets: %w", err)
	}
	defer func() { _ = conn.Close() }()
	for _, version := range []byte{unix.AF_INET, unix.AF_INET6} {
		list, err := conn.Execute(mdnetlink.Message{
			Header: mdnetlink.Header{Type: sockDiagByFamily, Flags: mdnetlink.Request | mdnetlink.Dump},
			Data:   diagRequest(version, nil),
		})
		if err != nil {
			return fmt.Errorf("look for open sockets: %w", err)
		}
		for _, m := range list {
			to, ok := diagPeer(m.Data)
			if !ok || !gone(to) {
				continue
			}
			_, err := conn.Execute(mdnetlink.Message{
				Header: mdnetlink.Header{Type: sockDestroy, Flags: mdnetlink.Request | mdnetlink.Acknowledge},
				Data:   diagRequest(version, m.Data[diagID:diagID+diagIDSize]),
			})
			if errors.Is(err, unix.EOPNOTSUPP) {
				return nil
			}
			if err != nil && !isAbsent(err) {
				return fmt.Errorf("end a socket: %w", err)
			}
		}
	}
	return nil
}

func diagRequest(version byte, id []byte) []byte {
	const anyState = 0xffffffff
	b := make([]byte, diagRequestSize)
	b[0], b[1] = version, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], anyState)
	copy(b[diagRequestID:], id)
	return b
}

// diagPeer reads where a socket leads. Loopback and no address at all are not
// elsewhere.
func diagPeer(b []byte) (netip.Addr, bool) {
	if len(b) < diagMessageSize {
		return netip.Addr{}, false
	}
	const ports, size = 4, net.IPv6len
	raw := b[diagID+ports+size:][:size]
	to := netip.AddrFrom16([16]byte(raw)).Unmap()
	if b[0] == unix.AF_INET {
		to = netip.AddrFrom4([4]byte(raw[:4]))
	}
	return to, to.IsValid() && !to.IsLoopback() && !to.IsUnspecified()
}
