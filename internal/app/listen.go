package app

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"syscall"

	"github.com/remuda-run/remuda/internal/config"
	"github.com/remuda-run/remuda/internal/remuda"
)

// endpoint is where to listen, decided before anything is made.
type endpoint struct {
	address *net.TCPAddr
	tls     *tls.Config  // nil is plain HTTP, then address is loopback
	bound   net.Listener // nil until bind
}

// resolveEndpoint turns the settings into an address and decides whether it may
// be served in the clear. The name is resolved here once and the listener gets
// the number, so that what was checked is what is bound.
func resolveEndpoint(c config.Config) (endpoint, error) {
	addr, err := net.ResolveTCPAddr("tcp", withoutLocalhost(c.Listen))
	if err != nil {
		return endpoint{}, &remuda.Error{
			Code: remuda.CodeInvalid, Message: "cannot listen on " + c.Listen, Cause: err.Error(),
			Remedy: "give --listen an address of this machine and a port, like 127.0.0.1:8080 or [::1]:8080",
		}
	}
	loopback := addr.IP.IsLoopback() // false without an address: ":8080" is every interface
	if c.TLSCert == "" && !loopback {
		return endpoint{}, &remuda.Error{
			Code: remuda.CodePrecondition, Message: "refusing to serve plain HTTP on " + c.Listen,
			Cause:  "passwords and tokens would cross the network in the clear; " + describeAddress(addr) + " is not a loopback address",
			Remedy: "give --tls-cert and --tls-key, or listen on loopback (--listen 127.0.0.1:8080) behind a proxy that does TLS",
		}
	}
	if c.MetricsOpen && !loopback {
		return endpoint{}, &remuda.Error{
			Code: remuda.CodePrecondition, Message: "refusing to serve /metrics without a token on " + c.Listen,
			Cause:  describeAddress(addr) + " is not a loopback address, so anybody could read the metrics",
			Remedy: "leave --metrics-open out and give the scraper a token with scope read",
		}
	}
	e := endpoint{address: addr}
	if c.TLSCert != "" {
		cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return endpoint{}, &remuda.Error{
				Code: remuda.CodeInvalid, Message: "cannot use the TLS certificate", Cause: err.Error(),
				Remedy: "--tls-cert is the PEM file with the certificate chain, --tls-key the one with its private key",
			}
		}
		e.tls = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	}
	return e, nil
}

// withoutLocalhost puts the loopback address in the place of localhost and of the
// names under it. RFC 6761 (6.3) keeps them from resolvers: a machine without
// them in /etc/hosts would ask a server, which may know them not, or wrongly.
func withoutLocalhost(address string) string {
	host, port, err := net.SplitHostPort(address)
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if err != nil || name != "localhost" && !strings.HasSuffix(name, ".localhost") {
		return address
	}
	return net.JoinHostPort("127.0.0.1", port)
}

func describeAddress(a *net.TCPAddr) string {
	if a.IP == nil || a.IP.IsUnspecified() {
		return "every interface of the machine"
	}
	return a.IP.String()
}

// bind takes the port. Whoever connects waits until it is served.
func (e *endpoint) bind(ctx context.Context) (err error) {
	e.bound, err = e.take(ctx)
	return err
}

// unbind gives it back, if nobody else has.
func (e *endpoint) unbind() error {
	if err := e.bound.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// listen is the port that was bound, with TLS if there is any.
func (e endpoint) listen() net.Listener {
	if e.tls != nil {
		return tls.NewListener(e.bound, e.tls)
	}
	return e.bound
}

func (e endpoint) take(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", e.address.String())
	if err != nil {
		remedy := "give --listen another address or port; port 0 takes a free one"
		if errors.Is(err, syscall.EADDRINUSE) {
			remedy = "end what uses the port, or give --listen another one; port 0 takes a free one"
		}
		return nil, &remuda.Error{Code: remuda.CodeUnavailable, Message: "cannot listen on " + e.address.String(), Cause: err.Error(), Remedy: remedy}
	}
	return l, nil
}

// url is the address for a client.
func (e endpoint) url(l net.Listener) string {
	scheme := "http://"
	if e.tls != nil {
		scheme = "https://"
	}
	return scheme + l.Addr().String()
}
