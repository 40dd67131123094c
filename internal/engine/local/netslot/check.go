package netslot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/engine"
	"github.com/remuda-run/remuda/internal/remuda"
)

// probePrefix begins the name of the machine's end of the link that Check makes.
const probePrefix = "rmc"

// The network of the probe: addresses for documentation (RFC 5737), which lead
// nowhere else.
var (
	probeHost = netip.MustParseAddr("203.0.113.252")
	probeFar  = netip.MustParseAddr("203.0.113.253")
)

const (
	checkName   = "network"
	checkRemedy = "run as root with CAP_NET_ADMIN on a kernel with nf_tables, conntrack, NAT and veth (Debian's has them); where another firewall forbids forwarding, such as Docker's, let it pass for interfaces named " + linkPrefix + "*"
)

// Check tries it: two namespaces that stand for a sandbox and for a host
// elsewhere, a connection that is listed and one that is not. It removes what it
// made.
func (s *Slots) Check(ctx context.Context) engine.Finding {
	detail, err := s.try(ctx)
	if err == nil {
		return engine.Finding{Name: checkName, OK: true, Detail: detail}
	}
	f := engine.Finding{Name: checkName, Detail: err.Error(), Remedy: checkRemedy}
	if own, ok := errors.AsType[*remuda.Error](err); ok && own.Remedy != "" && own.Code != remuda.CodeInternal {
		f.Remedy = own.Remedy
	}
	return f
}

// trialHerd is whose router Check uses while the herd has none: the one that an
// earlier process may have left is for Recover.
func trialHerd(herd string) string { return "x" + herd[1:] }

// try connects.
func (s *Slots) try(ctx context.Context) (_ string, err error) {
	s.mu.Lock()
	open := s.router != nil
	s.mu.Unlock()
	if !open {
		trial, err := New(Options{Herd: trialHerd(s.opts.Herd), Settings: s.opts.Settings, Ahead: 1})
		if err != nil {
			return "", err
		}
		trial.record, trial.left.dir = s.record, s.left.dir+"-trial"
		s = trial
	}
	elsewhere, err := newNamespace()
	if err != nil {
		return "", err
	}
	defer elsewhere.close()
	inside, err := newNamespace()
	if err != nil {
		return "", err
	}
	listed := egress.Compile(remuda.Egress{CIDRs: []netip.Prefix{netip.PrefixFrom(probeFar, 32)}}, egress.Site{})
	// attach takes the file of the namespace over, and closes it.
	own, err := openNamespace(fmt.Sprintf("/proc/self/fd/%d", inside.fd()))
	if err != nil {
		inside.close()
		return "", err
	}
	defer own.close()
	link, err := s.probe(elsewhere)
	if err != nil {
		inside.close()
		return "", err
	}
	defer func() { err = errors.Join(err, link()) }()
	a, err := s.attach(inside, "check", listed)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, a.Release(context.WithoutCancel(ctx)), s.idle()) }()
	if err := a.router.refresh(); err != nil { // the probe's link is to forward, too
		return "", err
	}
	if err := connects(own, elsewhere); err != nil {
		return "", fmt.Errorf("a listed destination is not reached: %w", err)
	}
	if err := a.Set(egress.Compiled{}); err != nil {
		return "", err
	}
	if err := connects(own, elsewhere); err == nil {
		return "", errors.New("a destination that is not listed is reached")
	}
	versions := "IPv4 and IPv6"
	if !a.router.six {
		versions = "IPv4 only (IPv6 needs Linux 6.17 or net.ipv6.conf.all.forwarding=1)"
	}
	return "a listed destination was reached and another was not; " + versions, nil
}

// probe connects the namespace that stands for a host elsewhere.
func (s *Slots) probe(elsewhere *namespace) (_ func() error, err error) {
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("speak to the machine's network: %w", err)
	}
	name := probePrefix + s.opts.Herd
	remove := func() error {
		defer host.Close()
		return removeLink(host, name)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, remove())
		}
	}()
	if err := removeLink(host, name); err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if err := host.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: insideName, PeerNamespace: netlink.NsFd(elsewhere.fd())}); err != nil {
		return nil, fmt.Errorf("make a link to try with: %w", err)
	}
	if _, err := raise(host, name, linked(probeHost)); err != nil {
		return nil, err
	}
	h, err := elsewhere.links()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	_, err = raise(h, insideName, linked(probeFar))
	return remove, err
}

func removeLink(h *netlink.Handle, name string) error {
	link, err := h.LinkByName(name)
	if err == nil {
		err = h.LinkDel(link)
	}
	if err != nil && !isAbsent(err) && !isUnknownLink(err) {
		return fmt.Errorf("remove the link %s: %w", name, err)
	}
	return nil
}

// connects tries a connection from one namespace to the other and says a word.
func connects(from, to *namespace) error {
	const limit = 2 * time.Second
	var listener net.Listener
	err := to.do(func() (err error) {
		listener, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(probeFar, 0)))
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	var conn net.Conn
	err = from.do(func() (err error) {
		conn, err = net.DialTimeout("tcp4", listener.Addr().String(), limit) //nolint:noctx // bounded
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	other, err := listener.Accept()
	if err != nil {
		return err
	}
	defer func() { _ = other.Close() }()
	const word = "hello"
	if _, err := io.WriteString(conn, word); err != nil {
		return err
	}
	if err := other.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	_, err = io.ReadFull(other, make([]byte, len(word)))
	return err
}

// idle removes the router when nobody uses it: a check leaves nothing.
func (s *Slots) idle() error {
	s.opening.Lock()
	defer s.opening.Unlock()
	s.mu.Lock()
	busy := s.claims > 0
	s.mu.Unlock()
	if busy {
		return nil
	}
	return s.shut()
}
