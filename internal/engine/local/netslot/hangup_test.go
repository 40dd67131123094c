package netslot

import (
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// A sandbox that asks on over the same connection, as one does that outlives its server,
// does not keep the resolver from ending.
func TestResolverEnds(t *testing.T) {
	s := newSlots(t, "asked", settings())
	b := newBox(t, s, named("api.example.com"))
	c, err := dial(b.space, "tcp4", netip.AddrPort{}, netip.AddrPortFrom(s.plan.gateway4, dnsPort), patience)
	must(t, err)
	defer func() { _ = c.Close() }()
	conn := &dns.Conn{Conn: c}
	ask := func() error {
		if err := conn.WriteMsg(new(dns.Msg).SetQuestion("other.example.com.", dns.TypeA)); err != nil {
			return err
		}
		_, err := conn.ReadMsg()
		return err
	}
	must(t, ask())
	hungUp := make(chan struct{})
	go func() {
		defer close(hungUp)
		for ask() == nil {
			time.Sleep(time.Second) // the resolver has patience for so long
		}
	}()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.resolver.close()
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the resolver waits for a sandbox")
		_ = c.Close()
		<-ended
	}
	<-hungUp
}
