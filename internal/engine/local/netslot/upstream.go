package netslot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/miekg/dns"
)

// upstream asks the name servers of the machine, from the machine.
type upstream struct {
	servers []netip.AddrPort // empty: those of resolv.conf, as it is now
}

const (
	resolvConf    = "/etc/resolv.conf"
	askPatience   = 2 * time.Second
	maxServers    = 3
	answerMaxSize = 1232
)

func (u upstream) list() ([]string, error) {
	var list []string
	for _, s := range u.servers {
		list = append(list, s.String())
	}
	if len(list) > 0 {
		return list, nil
	}
	conf, err := dns.ClientConfigFromFile(resolvConf)
	if err != nil {
		return nil, fmt.Errorf("find the machine's name servers: %w", err)
	}
	for _, s := range conf.Servers {
		list = append(list, net.JoinHostPort(s, conf.Port))
	}
	if len(list) == 0 {
		list = append(list, net.JoinHostPort("127.0.0.1", strconv.Itoa(dnsPort))) // as resolv.conf(5) says
	}
	return list[:min(len(list), maxServers)], nil
}

// ask puts one question to one server after the other until one answers.
func (u upstream) ask(ctx context.Context, q dns.Question) (*dns.Msg, error) {
	servers, err := u.list()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, server := range servers {
		reply, err := exchange(ctx, server, q)
		if err == nil && reply.Rcode != dns.RcodeServerFailure && reply.Rcode != dns.RcodeRefused {
			return reply, nil
		}
		if err == nil {
			err = fmt.Errorf("it said %s", dns.RcodeToString[reply.Rcode])
		}
		errs = append(errs, fmt.Errorf("ask %s: %w", server, err))
	}
	return nil, errors.Join(errs...)
}

func exchange(ctx context.Context, server string, q dns.Question) (*dns.Msg, error) {
	msg := new(dns.Msg)
	msg.Id, msg.RecursionDesired = dns.Id(), true
	msg.Question = []dns.Question{q}
	msg.SetEdns0(answerMaxSize, false)
	udp := dns.Client{Net: "udp", Timeout: askPatience, UDPSize: answerMaxSize}
	reply, _, err := udp.ExchangeContext(ctx, msg, server)
	if err != nil || !reply.Truncated {
		return reply, err //nolint:wrapcheck // the caller says who was asked
	}
	tcp := dns.Client{Net: "tcp", Timeout: askPatience}
	reply, _, err = tcp.ExchangeContext(ctx, msg, server)
	return reply, err //nolint:wrapcheck // as above
}
