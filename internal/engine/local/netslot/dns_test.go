package netslot

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/remuda"
)

// zone is a name server of ours with records that tests change.
type zone struct {
	mu      sync.Mutex
	records map[string][]string // name -> records without the name
	asked   []string
}

// newZone starts one in a far host and returns its address.
func newZone(t *testing.T, f *far) (*zone, netip.AddrPort) {
	t.Helper()
	z := &zone{records: map[string][]string{}}
	at := netip.AddrPortFrom(f.addr4(2), dnsPort)
	var packets net.PacketConn
	var listener net.Listener
	must(t, f.space.do(func() (err error) {
		if packets, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)); err != nil {
			return err
		}
		listener, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		return err
	}))
	var serving sync.WaitGroup
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: z}, {Listener: listener, Handler: z}} {
		serving.Go(func() { _ = server.ActivateAndServe() })
	}
	t.Cleanup(func() {
		_, _ = packets.Close(), listener.Close()
		serving.Wait()
	})
	return z, at
}

func (z *zone) set(name string, records ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records[name] = records
}

func (z *zone) heard(name string) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	return slices.Contains(z.asked, name)
}

// ServeDNS gives all records of a name and of those that it stands for, of
// whatever type, as a careless or hostile server may.
func (z *zone) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	name := question.Question[0].Name
	z.asked = append(z.asked, name)
	reply := new(dns.Msg).SetReply(question)
	if len(z.records[name]) == 0 {
		reply.Rcode = dns.RcodeNameError
	}
	for next := name; next != ""; {
		here := next
		next = ""
		for _, r := range z.records[here] {
			rr, err := dns.NewRR(here + " " + r)
			if err != nil {
				panic(err)
			}
			reply.Answer = append(reply.Answer, rr)
			if alias, ok := rr.(*dns.CNAME); ok {
				next = alias.Target
			}
		}
	}
	_, overTCP := w.RemoteAddr().(*net.TCPAddr)
	if !overTCP {
		reply.Truncate(dns.MinMsgSize)
	}
	_ = w.WriteMsg(reply)
}

// ask asks the resolver from inside.
func (b *box) ask(network, name string, kind uint16) (*dns.Msg, error) {
	gateway := b.slots.plan.gateway4
	if strings.HasSuffix(network, "6") {
		gateway = b.slots.plan.gateway6
	}
	question := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	c, err := dial(b.space, network, netip.AddrPort{}, netip.AddrPortFrom(gateway, dnsPort), patience)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	conn := &dns.Conn{Conn: c}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if err := conn.WriteMsg(question); err != nil {
		return nil, err
	}
	return conn.ReadMsg()
}

// looks asks and compares: the addresses, or the name of an error.
func (b *box) looks(name string, kind uint16, want string) *dns.Msg {
	b.t.Helper()
	reply, err := b.ask("udp", name, kind)
	must(b.t, err)
	got := ""
	for _, rr := range reply.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			got += " " + rr.A.String()
		case *dns.AAAA:
			got += " " + rr.AAAA.String()
		default:
			got += " " + rr.String()
		}
		if rr.Header().Name != dns.Fqdn(name) {
			b.t.Errorf("%s: an answer about %s", name, rr.Header().Name)
		}
	}
	if reply.Rcode != dns.RcodeSuccess {
		got += " " + dns.RcodeToString[reply.Rcode]
	}
	if got = strings.TrimSpace(got); got != want {
		b.t.Errorf("%s %s: %q, want %q", name, dns.TypeToString[kind], got, want)
	}
	return reply
}

// safeBuffer is a log that goroutines write and the test reads.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func named(names ...string) remuda.Egress { return remuda.Egress{Names: names} }

// Rows N02, N06, N07, N11.
func TestNames(t *testing.T) {
	f := newFar(t, "169.254.169.254/32")
	port := echo(t, f.space)
	z, server := newZone(t, f)
	a9, a10, b9 := f.addr4(9).String(), f.addr4(10).String(), f.addr6(9).String()
	z.set("api.example.com.", "300 IN A "+a9, "300 IN AAAA "+b9, "300 IN TXT hidden")
	z.set("alias.example.com.", "20 IN CNAME far.example.net.")
	z.set("far.example.net.", "300 IN A "+a10)
	z.set("meta.example.com.", "0 IN A 169.254.169.254", "0 IN AAAA fd00:ec2::254")
	z.set("meta-alias.example.com.", "300 IN CNAME metadata.google.internal.")
	z.set("metadata.google.internal.", "300 IN A 169.254.169.254")
	z.set("mixed.example.com.", "300 IN A 169.254.169.254", "300 IN A "+a10, "300 IN A 127.0.0.1")
	z.set("forbidden.example.com.", "300 IN A "+f.addr4(66).String())
	z.set("host.example.com.", "300 IN A "+f.v4.Addr().Next().String())
	z.set("mapped.example.com.", "300 IN AAAA ::ffff:169.254.169.254")
	z.set("loop.example.com.", "300 IN CNAME loop2.example.com.")
	z.set("other.example.com.", "300 IN A "+a9)
	z.set("deep.under.example.org.", "300 IN A "+a10)
	var many []string
	for n := range 40 {
		many = append(many, fmt.Sprintf("300 IN A %s", f.addr4(100+n)))
	}
	z.set("many.example.com.", many...)
	set := settings()
	set.UpstreamDNS = []netip.AddrPort{server}
	set.Forbid = parsePrefixes([]string{f.addr4(64).String() + "/29"})
	s := newSlots(t, "names", set)
	log := &safeBuffer{}
	s.log = slog.New(slog.NewTextHandler(log, nil))
	e := named("api.example.com", "alias.example.com", "meta.example.com", "meta-alias.example.com", "metadata.google.internal", "mixed.example.com",
		"forbidden.example.com", "host.example.com", "mapped.example.com", "loop.example.com", "many.example.com", "*.example.org", "missing.example.com")
	b := newBox(t, s, e)
	to := f.addr4(9)
	there(t, to, port)
	if z.heard("api.example.com.") {
		t.Error("somebody asked already")
	}
	b.misses(port, to) // nobody has asked yet
	b.looks("api.example.com", dns.TypeA, a9)
	b.reaches(to, port)
	b.misses(port, f.addr4(10), f.addr6(9)) // its neighbour has no name yet
	b.looks("API.example.COM", dns.TypeAAAA, b9)
	b.reaches(f.addr6(9), port)
	b.looks("api.example.com", dns.TypeTXT, "")
	b.looks("api.example.com", dns.TypeANY, "")
	b.looks("alias.example.com", dns.TypeA, a10)
	b.reaches(f.addr4(10), port)
	b.looks("deep.under.example.org", dns.TypeA, a10)
	b.looks("example.org", dns.TypeA, "NXDOMAIN")
	b.looks("missing.example.com", dns.TypeA, "NXDOMAIN")
	b.looks("loop.example.com", dns.TypeA, "")
	t.Run("not listed", func(t *testing.T) {
		b.t = t
		for _, name := range []string{"other.example.com", "far.example.net", "c2VjcmV0.attacker.example", "example.com", "x.api.example.com"} {
			b.looks(name, dns.TypeA, "NXDOMAIN")
			if z.heard(dns.Fqdn(name)) {
				t.Errorf("the name server heard of %s", name)
			}
			if !strings.Contains(log.String(), "name="+dns.Fqdn(name)) {
				t.Errorf("%s is not in the log:\n%s", name, log)
			}
		}
		if n := s.resolver.refused.Load(); n < 5 {
			t.Errorf("%d refusals were counted", n)
		}
	})
	t.Run("rebinding", func(t *testing.T) {
		b.t = t
		metadata := netip.MustParseAddr("169.254.169.254")
		there(t, metadata, port)
		there(t, f.addr4(66), port)
		b.looks("meta.example.com", dns.TypeA, "NXDOMAIN")
		b.looks("meta.example.com", dns.TypeAAAA, "NXDOMAIN")
		b.looks("meta-alias.example.com", dns.TypeA, "NXDOMAIN")
		b.looks("metadata.google.internal", dns.TypeA, "NXDOMAIN")
		b.looks("mapped.example.com", dns.TypeAAAA, "NXDOMAIN")
		b.looks("mixed.example.com", dns.TypeA, a10)
		b.looks("forbidden.example.com", dns.TypeA, "NXDOMAIN")
		b.looks("host.example.com", dns.TypeA, "NXDOMAIN")
		b.misses(port, metadata, f.addr4(66))
		z.set("api.example.com.", "0 IN A 169.254.169.254")
		b.looks("api.example.com", dns.TypeA, "NXDOMAIN")
		b.misses(port, metadata)
		if !strings.Contains(log.String(), "leads to where sandboxes may not go") {
			t.Errorf("nothing of it is in the log:\n%s", log)
		}
	})
	t.Run("transports", func(t *testing.T) {
		b.t = t
		for _, network := range []string{"udp4", "tcp4", "udp6", "tcp6"} {
			reply, err := b.ask(network, "many.example.com", dns.TypeA)
			must(t, err)
			if len(reply.Answer) != maxAddresses || reply.Truncated {
				t.Errorf("%s: %d answers, truncated: %t", network, len(reply.Answer), reply.Truncated)
			}
		}
	})
	t.Run("only the resolver", func(t *testing.T) {
		b.t = t
		there(t, f.addr4(2), port)
		if _, err := dial(b.space, "tcp", netip.AddrPort{}, server, brief); err == nil {
			t.Error("another name server is reached")
		}
	})
}

// A name that is taken from the list takes its addresses and connections along,
// one that stays does not.
func TestNamesTightened(t *testing.T) {
	f := newFar(t)
	port := echo(t, f.space)
	z, server := newZone(t, f)
	for name, n := range map[string]int{"gone": 9, "stays": 10} {
		z.set(name+".example.com.", "300 IN A "+f.addr4(n).String(), "300 IN AAAA "+f.addr6(n).String())
	}
	z.set("also.example.com.", "300 IN A "+f.addr4(10).String(), "300 IN A "+f.addr4(11).String())
	set := settings()
	set.UpstreamDNS = []netip.AddrPort{server}
	s := newSlots(t, "named", set)
	b := newBox(t, s, named("gone.example.com", "stays.example.com", "also.example.com"))
	for _, name := range []string{"gone", "stays"} {
		_, err := b.ask("udp", name+".example.com", dns.TypeA)
		must(t, err)
	}
	_, err := b.ask("udp", "also.example.com", dns.TypeA)
	must(t, err)
	gone, stays, also := b.open(f.addr4(9), port), b.open(f.addr4(10), port), b.open(f.addr4(11), port)
	must(t, b.Set(s.Compile(named("stays.example.com"))))
	for _, c := range []net.Conn{gone, also} {
		if err := say(c, patience); err == nil {
			t.Errorf("the connection to %s was not cut", c.RemoteAddr())
		}
	}
	if err := say(stays, patience); err != nil {
		t.Errorf("a connection to a name that stays was cut: %v", err)
	}
	b.misses(port, f.addr4(9), f.addr4(11))
	b.reaches(f.addr4(10), port)
	b.looks("gone.example.com", dns.TypeA, "NXDOMAIN")
	// The time of an address runs out for new connections only.
	must(t, s.router.rules.change(func(batch *batch) { batch.drop(b.slot.rules.named[ip4], f.addr4(10).AsSlice()) }))
	if err := say(stays, patience); err != nil {
		t.Errorf("an open connection was cut when the time of its address ran out: %v", err)
	}
	if c, err := dial(b.space, "tcp", netip.AddrPort{}, netip.AddrPortFrom(f.addr4(10), uint16(port)), brief); err == nil {
		_ = c.Close()
		t.Error("a new connection was opened when the time of its address had run out")
	}
	b.misses(port, f.addr6(10))
	must(t, b.Set(egress.Compiled{}))
	if err := say(stays, patience); err == nil {
		t.Error("a connection outlives the last name")
	}
}

// Row N06: many questions are refused, and fill neither log nor name server.
func TestManyQuestions(t *testing.T) {
	f := newFar(t)
	z, server := newZone(t, f)
	z.set("api.example.com.", "300 IN A "+f.addr4(9).String())
	set := settings()
	set.UpstreamDNS = []netip.AddrPort{server}
	s := newSlots(t, "many", set)
	log := &safeBuffer{}
	s.log = slog.New(slog.NewTextHandler(log, nil))
	b, other := newBox(t, s, named("api.example.com")), newBox(t, s, named("api.example.com"))
	codes := map[int]int{}
	for n := range 8 * questionsAtOnce {
		reply, err := b.ask("udp", fmt.Sprintf("x%d.api.example.com", n), dns.TypeA)
		must(t, err)
		codes[reply.Rcode]++
		if codes[dns.RcodeRefused] > 10 {
			break
		}
	}
	if codes[dns.RcodeRefused] == 0 || codes[dns.RcodeNameError] < questionsAtOnce {
		t.Errorf("answers: %v", codes)
	}
	if lines := strings.Count(log.String(), "\n"); lines > 2*linesAtOnce {
		t.Errorf("%d lines were logged", lines)
	}
	other.looks("api.example.com", dns.TypeA, f.addr4(9).String())
}

func FuzzAddresses(f *testing.F) {
	q := dns.Question{Name: "a.example.", Qtype: dns.TypeA, Qclass: dns.ClassINET}
	for _, records := range [][]string{{"a.example. 1 IN A 10.0.0.1"}, {"a.example. 1 IN CNAME b.example.", "b.example. 2 IN A 10.0.0.1"}, {"a.example. 1 IN CNAME a.example."}} {
		m := new(dns.Msg).SetQuestion(q.Name, q.Qtype)
		for _, r := range records {
			rr, err := dns.NewRR(r)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	f.Fuzz(func(t *testing.T, packed []byte) {
		m := new(dns.Msg)
		if m.Unpack(packed) != nil {
			return
		}
		found, ttl := addresses(q, m.Answer)
		if len(found) > maxAddresses || ttl < 0 {
			t.Errorf("%d addresses, for %s", len(found), ttl)
		}
		for _, a := range found {
			if !a.Is4() {
				t.Errorf("%s answers a question for IPv4", a)
			}
		}
	})
}
