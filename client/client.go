package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client calls one server. It is safe for concurrent use.
type Client struct {
	base  string // without a slash at the end
	token string
	http  *http.Client
	agent string
}

// Option changes how a Client is made.
type Option func(*Client)

// WithHTTPClient uses h, for example for a private certificate authority. It
// must not have a Timeout: calls may rightly wait for minutes; use contexts.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { c.http = h } }

// WithUserAgent sets the User-Agent header.
func WithUserAgent(agent string) Option { return func(c *Client) { c.agent = agent } }

// New makes a client of the server at address ("http://127.0.0.1:8080"). The
// token may be empty for CreateTokenBasic, ChangePassword and the calls that need none.
func New(address, token string, options ...Option) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("address of the server: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("address of the server: %q is not of the form http://host:port or https://host", address)
	}
	c := &Client{base: strings.TrimRight(u.String(), "/"), token: token, agent: "remuda-client"}
	c.http = &http.Client{
		Transport: http.DefaultTransport.(*http.Transport).Clone(), //nolint:forcetypeassert // it is one, by its documentation
		// The API never redirects; following one could carry the token away.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, option := range options {
		option(c)
	}
	return c, nil
}

// Page asks for one page of a list. The zero value is the first page.
type Page struct {
	Limit  int    // 0 is the server's default
	Cursor string // the next of the page before
}

func (p Page) query() url.Values {
	q := url.Values{}
	if p.Limit > 0 {
		q.Set("limit", strconv.Itoa(p.Limit))
	}
	if p.Cursor != "" {
		q.Set("cursor", p.Cursor)
	}
	return q
}

// maxWait is the longest that the server lets a call wait.
const maxWait = 5 * time.Minute

func waitQuery(d time.Duration) url.Values {
	if d <= 0 {
		return nil
	}
	return url.Values{"wait": {min(d, maxWait).String()}}
}

// request makes a request; path begins with a slash and is escaped already.
func (c *Client) request(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Request, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", c.agent)
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	return r, nil
}

// send sends r and turns every answer but a success into an error.
func (c *Client) send(r *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer resp.Body.Close()
		return nil, problemOf(resp)
	}
	return resp, nil
}

// call does a JSON exchange; in may be nil.
func call[Out any](ctx context.Context, c *Client, method, path string, query url.Values, in any) (Out, error) {
	return callWith[Out](ctx, c, method, path, query, in, nil)
}

// callWith is call with more headers.
func callWith[Out any](ctx context.Context, c *Client, method, path string, query url.Values, in any, header http.Header) (Out, error) {
	var out Out
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return out, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	r, err := c.request(ctx, method, path, query, body)
	if err != nil {
		return out, err
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	maps.Copy(r.Header, header)
	resp, err := c.send(r)
	if err != nil {
		return out, err
	}
	return decode[Out](resp)
}

func decode[Out any](resp *http.Response) (Out, error) {
	var out Out
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return out, fmt.Errorf("read the answer: %w", err)
	}
	if err := json.Unmarshal(data, &out); err != nil {
		return out, fmt.Errorf("decode the answer: %w", err)
	}
	return out, nil
}

// remove does a DELETE, whose answer has no body.
func (c *Client) remove(ctx context.Context, path string) error { return c.removeWith(ctx, path, nil) }

func (c *Client) removeWith(ctx context.Context, path string, query url.Values) error {
	r, err := c.request(ctx, http.MethodDelete, path, query, nil)
	if err != nil {
		return err
	}
	resp, err := c.send(r)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// at makes a path of segments, each escaped.
func at(segments ...string) string {
	var b strings.Builder
	b.WriteString("/v1")
	for _, s := range segments {
		b.WriteString("/" + url.PathEscape(s))
	}
	return b.String()
}
