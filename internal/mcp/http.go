package mcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/parleybus/parley/internal/mcp/oauth"
	"github.com/parleybus/parley/internal/secret"
)

// exchange is the transport's data about one request, in addition to the
// answer.
type exchange struct {
	sent   atomic.Bool             // the server may have read it
	status atomic.Int32            // of HTTP
	over   context.CancelCauseFunc // cancels a call whose answer is too long; may be nil
}

type exchangeKey struct{}

func withExchange(ctx context.Context, e *exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, e)
}

// client calls one server over HTTP.
type client struct {
	base   *http.Transport
	origin *url.URL
	header map[string]string
	login  *oauth.Source // nil if the server has none
	wanted sync.Once     // whether the server wants a login
	wants  bool
	// refusal is why the last request was refused (401 or 403); nil if it was not.
	refusal atomic.Pointer[refusedError]
}

func newClient(s *Server) *client {
	base := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: time.Minute}
	c := &client{base: base, header: s.Header}
	if u, err := url.Parse(s.URL); err == nil { // checked by Run
		c.origin = u
	}
	if s.Logins != "" && !s.authorized() {
		c.login = &oauth.Source{Store: oauth.Store{Dir: s.Logins, Learn: s.Learn}, Server: s.Name, URL: s.URL, Client: s.OAuth, HTTP: oauth.NewClient(base)}
	}
	return c
}

func (c *client) idle() { c.base.CloseIdleConnections() }

func (c *client) transport(s *Server) *sdk.StreamableClientTransport {
	t := &sdk.StreamableClientTransport{Endpoint: s.URL, MaxEventSize: 2 * maxMessage, // beyond what limited takes: it ends the call, the SDK the session

		HTTPClient: &http.Client{Transport: c, CheckRedirect: c.redirect}}
	if c.login != nil {
		t.OAuthHandler = c
	}
	return t
}

// redirect follows redirects only within the host.
func (c *client) redirect(r *http.Request, via []*http.Request) error {
	switch {
	case !c.own(r.URL):
		return fmt.Errorf("it redirects to %s: give that URL instead, if it is trusted", secret.URL(r.URL.String()))
	case len(via) > 5:
		return errors.New("it redirects more than 5 times")
	}
	return nil
}

func (c *client) own(u *url.URL) bool { return u.Scheme == c.origin.Scheme && u.Host == c.origin.Host }

// RoundTrip implements [http.RoundTripper].
func (c *client) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if c.own(r.URL) {
		for k, v := range c.header {
			r.Header.Set(k, v)
		}
	}
	e, _ := r.Context().Value(exchangeKey{}).(*exchange)
	resp, err := c.base.RoundTrip(r)
	op, network := errors.AsType[*net.OpError](err)
	if e != nil && !(network && op.Op == "dial") {
		e.sent.Store(true)
	}
	if err != nil {
		return nil, err
	}
	if r.Method == http.MethodPost {
		c.refusal.Store(c.refused(resp))
	}
	if e != nil {
		if r.Method == http.MethodPost {
			e.status.Store(int32(resp.StatusCode))
		}
		resp.Body = &limited{ReadCloser: resp.Body, left: maxMessage + 1<<20, exchange: e}
	}
	return resp, nil
}

// limited bounds the body of an answer: the SDK bounds only events.
type limited struct {
	io.ReadCloser
	left     int
	exchange *exchange
}

// Read implements [io.Reader].
func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		if l.exchange.over != nil {
			l.exchange.over(errTooLong)
		}
		return 0, errTooLong
	}
	n, err := l.ReadCloser.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}
