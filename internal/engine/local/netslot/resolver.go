package netslot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// resolver answers the questions of sandboxes. It knows who asks by the address,
// which the router's rules bind to the interface.
type resolver struct {
	log      *slog.Logger
	upstream upstream
	servers  []*dns.Server
	serving  sync.WaitGroup
	stop     context.CancelFunc
	ctx      context.Context //nolint:containedctx // of the questions, which come from the library without one

	// Counters of questions: answered, refused (not listed, or too many), and
	// answers that led where nobody may go.
	answered, refused, misled atomic.Int64

	mu     sync.Mutex
	askers map[netip.Addr]*asker
}

// Bounds of one sandbox's questions.
const (
	questionsPerSecond = 50
	questionsAtOnce    = 100
	askingAtOnce       = 16 // waiting for the upstream
	linesPerSecond     = 2
	linesAtOnce        = 20
	tcpAtOnce          = 8 // connections of one sandbox
)

// asker is a sandbox as the resolver knows it.
type asker struct {
	attached  *Attached
	questions bucket
	lines     bucket
	unsaid    atomic.Int64 // lines that were left out
	waiting   chan struct{}
	tcp       atomic.Int64
}

// dnsPort is where sandboxes ask.
const dnsPort = 53

// startResolver listens inside a router.
func startResolver(space *namespace, p plan, servers []netip.AddrPort, log *slog.Logger) (*resolver, error) {
	ctx, cancel := context.WithCancel(context.Background())
	d := &resolver{log: log, upstream: upstream{servers: servers}, stop: cancel, ctx: ctx, askers: map[netip.Addr]*asker{}}
	err := space.do(func() error {
		for _, gateway := range usable(p.gateway4, p.gateway6) {
			at := netip.AddrPortFrom(gateway, dnsPort)
			udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
			if err != nil {
				return fmt.Errorf("listen for questions: %w", err)
			}
			d.servers = append(d.servers, &dns.Server{PacketConn: udp, Handler: d})
			tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
			if err != nil {
				return fmt.Errorf("listen for questions: %w", err)
			}
			const patience = 5 * time.Second
			d.servers = append(d.servers, &dns.Server{
				Listener: &gate{Listener: tcp, resolver: d}, Handler: d,
				ReadTimeout: patience, WriteTimeout: patience, IdleTimeout: func() time.Duration { return patience },
			})
		}
		return nil
	})
	if err != nil {
		d.close()
		return nil, err
	}
	for _, server := range d.servers {
		d.serving.Go(func() {
			if err := server.ActivateAndServe(); err != nil && ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
				log.Error("the resolver stopped", "error", err)
			}
		})
	}
	return d, nil
}

// close ends it; questions that wait get no answer, and no sandbox keeps it by asking on.
func (d *resolver) close() {
	d.stop()
	for _, server := range d.servers {
		_ = server.Shutdown() // also its connections; fails if it does not serve
		if server.PacketConn != nil {
			_ = server.PacketConn.Close()
		}
		if server.Listener != nil {
			_ = server.Listener.Close()
		}
	}
	d.serving.Wait()
}

func (d *resolver) add(a *Attached) {
	one := &asker{attached: a, questions: newBucket(questionsPerSecond, questionsAtOnce), lines: newBucket(linesPerSecond, linesAtOnce), waiting: make(chan struct{}, askingAtOnce)}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.askers[a.slot.v4], d.askers[a.slot.v6] = one, one
}

func (d *resolver) remove(a *Attached) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.askers, a.slot.v4)
	delete(d.askers, a.slot.v6)
}

func (d *resolver) asker(from net.Addr) *asker {
	at, err := netip.ParseAddrPort(from.String())
	if err != nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.askers[at.Addr().Unmap()]
}

// ServeDNS implements dns.Handler.
func (d *resolver) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	who := d.asker(w.RemoteAddr())
	if who == nil {
		return // it has just been taken off the network
	}
	answer := d.answer(who, question)
	answer.Truncate(dns.MinMsgSize)
	_ = w.WriteMsg(answer) // nobody is left to tell
}

// answer decides.
func (d *resolver) answer(who *asker, question *dns.Msg) *dns.Msg {
	reply := new(dns.Msg)
	switch {
	case !who.questions.take():
		d.refused.Add(1)
		d.note(who, "a sandbox asks too many questions")
		return reply.SetRcode(question, dns.RcodeRefused)
	case question.Response || question.Opcode != dns.OpcodeQuery || len(question.Question) != 1:
		return reply.SetRcode(question, dns.RcodeNotImplemented)
	}
	q := question.Question[0]
	if q.Qclass != dns.ClassINET || !who.attached.lists(q.Name) {
		d.refused.Add(1)
		d.note(who, "a sandbox asked for a name that its runtime does not list", "name", q.Name, "type", dns.TypeToString[q.Qtype])
		return reply.SetRcode(question, dns.RcodeNameError)
	}
	reply.SetReply(question)
	reply.RecursionAvailable = true
	if q.Qtype != dns.TypeA && q.Qtype != dns.TypeAAAA {
		return reply // addresses are all that there is
	}
	rcode, err := d.look(who, q, reply)
	if err != nil {
		d.note(who, "a question of a sandbox could not be answered", "name", q.Name, "error", err)
		return new(dns.Msg).SetRcode(question, dns.RcodeServerFailure)
	}
	reply.Rcode = rcode
	return reply
}

// How long an address that a name led to may be reached by new connections: as
// long as the answer holds, and a little, within bounds.
const (
	minStay = 60 * time.Second
	maxStay = time.Hour
	grace   = 30 * time.Second
)

// maxAddresses bounds the addresses of one answer.
const maxAddresses = 16

// look asks the upstream and puts the addresses that may be reached into reply.
func (d *resolver) look(who *asker, q dns.Question, reply *dns.Msg) (rcode int, err error) {
	select {
	case who.waiting <- struct{}{}:
		defer func() { <-who.waiting }()
	default:
		return dns.RcodeRefused, nil
	}
	// In lower case: how a name is written could carry something outward.
	asked := q
	asked.Name = strings.ToLower(q.Name)
	from, err := d.upstream.ask(d.ctx, asked)
	if err != nil {
		return 0, err
	}
	if from.Rcode != dns.RcodeSuccess {
		if from.Rcode == dns.RcodeNameError {
			return dns.RcodeNameError, nil
		}
		return 0, fmt.Errorf("the name server said %s", dns.RcodeToString[from.Rcode])
	}
	found, ttl := addresses(q, from.Answer)
	if len(found) == 0 {
		return dns.RcodeSuccess, nil
	}
	ttl = min(ttl, maxStay)
	good, err := who.attached.answer(q.Name, found, max(ttl+grace, minStay))
	if err != nil {
		return 0, err
	}
	if len(good) < len(found) {
		d.misled.Add(1)
		d.note(who, "a name leads to where sandboxes may not go", "name", q.Name, "addresses", found)
	}
	if len(good) == 0 {
		return dns.RcodeNameError, nil
	}
	d.answered.Add(1)
	header := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: uint32(ttl / time.Second)}
	for _, a := range good {
		if a.Is4() {
			reply.Answer = append(reply.Answer, &dns.A{Hdr: header, A: a.AsSlice()})
		} else {
			reply.Answer = append(reply.Answer, &dns.AAAA{Hdr: header, AAAA: a.AsSlice()})
		}
	}
	return dns.RcodeSuccess, nil
}

// addresses follows an answer from the name that was asked for, over the names
// that it stands for, to addresses. Other records are passed over.
func addresses(q dns.Question, records []dns.RR) (found []netip.Addr, ttl time.Duration) {
	const aliases = 16
	name, least := strings.ToLower(q.Name), ^uint32(0)
	for range aliases {
		next := ""
		for _, rr := range records {
			h := rr.Header()
			if strings.ToLower(h.Name) != name || h.Class != dns.ClassINET {
				continue
			}
			var ip net.IP
			switch rr := rr.(type) {
			case *dns.CNAME:
				next, least = strings.ToLower(rr.Target), min(least, h.Ttl)
				continue
			case *dns.A:
				ip = rr.A.To4()
			case *dns.AAAA:
				ip = rr.AAAA
			}
			a, ok := netip.AddrFromSlice(ip)
			if !ok || h.Rrtype != q.Qtype || len(found) == maxAddresses {
				continue
			}
			found, least = append(found, a), min(least, h.Ttl)
		}
		if len(found) > 0 || next == "" {
			break
		}
		name = next
	}
	return found, time.Duration(least) * time.Second
}

// note writes a line, unless a sandbox causes too many; then how many were left
// out stands in the next one.
func (d *resolver) note(who *asker, msg string, attrs ...any) {
	if !who.lines.take() {
		who.unsaid.Add(1)
		return
	}
	attrs = append(attrs, "instance", who.attached.name)
	if n := who.unsaid.Swap(0); n > 0 {
		attrs = append(attrs, "left_out", n)
	}
	d.log.Info(msg, attrs...) //nolint:sloglint // each caller's message is constant
}

// bucket lets so many things happen in a second, and a burst at once.
type bucket struct {
	mu          sync.Mutex
	rate, burst float64
	left        float64
	at          time.Time
}

func newBucket(perSecond, atOnce int) bucket {
	return bucket{rate: float64(perSecond), burst: float64(atOnce), left: float64(atOnce), at: time.Now()}
}

func (b *bucket) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.left = min(b.burst, b.left+now.Sub(b.at).Seconds()*b.rate)
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// gate lets each sandbox have a few connections.
type gate struct {
	net.Listener

	resolver *resolver
}

// Accept implements net.Listener.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err //nolint:wrapcheck // the server looks at what it is
		}
		who := g.resolver.asker(c.RemoteAddr())
		if who == nil {
			_ = c.Close()
			continue
		}
		if who.tcp.Add(1) > tcpAtOnce {
			who.tcp.Add(-1)
			_ = c.Close()
			continue
		}
		return &counted{Conn: c, who: who}, nil
	}
}

// counted gives its place back when it is closed.
type counted struct {
	net.Conn

	who  *asker
	once sync.Once
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.once.Do(func() { c.who.tcp.Add(-1) })
	return c.Conn.Close() //nolint:wrapcheck // as it was
}
