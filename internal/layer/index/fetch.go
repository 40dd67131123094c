package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/remuda-run/remuda/internal/egress"
)

// newClient makes the client that fetches for all sessions.
func newClient(opts Options) *http.Client {
	internal := map[string]bool{}
	for _, u := range append([]*url.URL{opts.Pip, opts.Npm}, opts.Apt...) {
		if u == nil {
			continue
		}
		internal[hostPort(u)] = true
		if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u}); err == nil && proxy != nil {
			internal[hostPort(proxy)] = true
		}
	}
	for _, host := range opts.Internal {
		internal[strings.ToLower(host)] = true
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer(internal), ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: 20 * time.Second, ResponseHeaderTimeout: time.Minute, IdleConnTimeout: time.Minute,
			MaxIdleConnsPerHost: 8,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) >= 5 {
				return errors.New("the index redirects more than five times")
			}
			return fetchable(r.URL)
		},
	}
}

// hostPort is the address that is dialed for a URL.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return strings.ToLower(net.JoinHostPort(u.Hostname(), port))
}

// dialer connects to the hosts of indexes, wherever they are, and to hosts that
// they name unless these are of the server's own network: an index that lies could
// otherwise have the server fetch what only the server can reach.
func dialer(internal map[string]bool) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		d := net.Dialer{Timeout: 20 * time.Second}
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if !internal[strings.ToLower(address)] && !internal[strings.ToLower(host)] {
			d.Control = func(_, resolved string, _ syscall.RawConn) error {
				if at, err := netip.ParseAddrPort(resolved); err != nil || !public(at.Addr()) {
					return fmt.Errorf("the index leads to %s, which is in the server's own network: list it in packages_internal_hosts if that is meant", address)
				}
				return nil
			}
		}
		return d.DialContext(ctx, network, address)
	}
}

// public reports whether an address is one of the wide world.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() || cgnat.Contains(a) {
		return false
	}
	for _, never := range egress.Never() {
		if never.Contains(a) {
			return false
		}
	}
	return true
}

// cgnat is shared between a provider and its customers (RFC 6598).
var cgnat = netip.MustParsePrefix("100.64.0.0/10")

// fetchable refuses what is no address of the web.
func fetchable(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("the index leads to an address of kind %q", u.Scheme)
	}
	return nil
}

// get fetches a URL. Credentials in it are sent, and never shown.
func (g *Gateway) get(ctx context.Context, u *url.URL, accept string) (*http.Response, error) {
	if err := fetchable(u); err != nil {
		return nil, err
	}
	plain := *u
	plain.User = nil
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, plain.String(), nil) //nolint:gosec // dialer decides where an index may lead
	if err != nil {
		return nil, errors.New("the index names an address that is none")
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	req.Header.Set("User-Agent", "remuda")
	if u.User != nil { // as a header, it goes along to the same host and to no other
		password, _ := u.User.Password()
		req.SetBasicAuth(u.User.Username(), password)
	}
	resp, err := g.client.Do(req) //nolint:gosec // see above
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err // without the URL, which may have a secret
		}
		return nil, fmt.Errorf("fetch from %s: %w", u.Hostname(), err)
	}
	return resp, nil
}

// errAbsent says that the index does not have something.
var errAbsent = errors.New("the index does not have it")

// page fetches a page whole. resp is closed and tells type and final address.
func (g *Gateway) page(ctx context.Context, u *url.URL, accept string) (body []byte, resp *http.Response, err error) {
	resp, err = g.get(ctx, u, accept)
	if err != nil {
		return nil, nil, err
	}
	stream := resp.Body
	defer func() { _ = stream.Close() }()
	switch {
	case resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone:
		return nil, nil, errAbsent
	case resp.StatusCode != http.StatusOK:
		return nil, nil, fmt.Errorf("%s answers %s", u.Hostname(), resp.Status)
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxPage+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read from %s: %w", u.Hostname(), err)
	}
	if len(body) > maxPage {
		return nil, nil, fmt.Errorf("a page of %s is larger than %d MiB", u.Hostname(), maxPage>>20)
	}
	return body, resp, nil
}
