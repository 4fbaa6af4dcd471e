package mcp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/oauth2"

	"github.com/parleybus/parley/internal/mcp/oauth"
)

// LoginCommand returns the command that logs in at a server.
func LoginCommand(server string) string { return "run `parley mcp login " + server + "`" }

// authorized reports whether the headers have the credentials.
func (s *Server) authorized() bool {
	for name := range s.Header {
		if strings.EqualFold(name, "Authorization") {
			return true
		}
	}
	return false
}

// refused returns the refusal of an answer, with what to do about it; nil if it is
// none.
func (c *client) refused(resp *http.Response) *refusedError {
	r := refusalOf(resp)
	if r == nil || c.login == nil {
		return r
	}
	ctx := resp.Request.Context()
	if r.status == http.StatusForbidden {
		if oauth.Wanted(ctx, c.login.HTTP, resp, c.login.URL) {
			r.advice = "the login does not allow this: " + LoginCommand(c.login.Server)
		}
		return r
	}
	c.wanted.Do(func() { c.wants = oauth.Wanted(ctx, c.login.HTTP, resp, c.login.URL) })
	if c.wants {
		r.advice = LoginCommand(c.login.Server)
	}
	return r
}

// TokenSource implements [auth.OAuthHandler].
func (c *client) TokenSource(ctx context.Context) (oauth2.TokenSource, error) {
	return c.login.Bind(ctx), nil
}

// Authorize implements [auth.OAuthHandler]: it renews the login after a refusal. Only
// a person can make one.
func (c *client) Authorize(ctx context.Context, r *http.Request, resp *http.Response) error {
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxRefusal)) // RoundTrip has read it
	refusal := c.refusal.Load()
	if refusal == nil { // that of another request was accepted meanwhile
		refusal = &refusedError{status: resp.StatusCode}
	}
	if resp.StatusCode != http.StatusUnauthorized {
		return refusal
	}
	used := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	err := c.login.Replace(ctx, used)
	switch {
	case err == nil:
		return nil // the SDK sends the request again
	case errors.Is(err, oauth.ErrNone):
		return refusal
	}
	told := *refusal
	told.advice = err.Error()
	if _, over := errors.AsType[*oauth.EndedError](err); over {
		told.advice += ": " + LoginCommand(c.login.Server)
	}
	c.refusal.Store(&told)
	return &told
}

// ErrNoLogin reports that a server takes requests without a login.
var ErrNoLogin = errors.New("the server needs no login")

// Login logs in at a server over HTTP with a person's browser, stores the login and
// returns how many tools the server then lists. show gets the address to open. If
// paste is not nil, it is read for the address that the browser came back to. It
// fails with [ErrNoLogin] if the server asks for none.
func Login(ctx context.Context, s *Server, show func(address string) error, paste io.Reader) (tools int, err error) {
	if err := s.valid(); err != nil {
		return 0, err
	}
	switch {
	case s.URL == "":
		return 0, fmt.Errorf("MCP server %s is a command: it gets its credentials by env", s.Name)
	case s.authorized():
		return 0, fmt.Errorf("MCP server %s has the header Authorization: remove it to log in", s.Name)
	case s.Logins == "":
		return 0, errors.New("there is no directory for logins: set PARLEY_LOGINS to one")
	}
	c := newClient(s)
	defer c.idle()
	flow := &oauth.Flow{Source: c.login, Show: show, Paste: paste}
	if err := flow.Start(); err != nil {
		return 0, err
	}
	defer flow.Close()
	t := c.transport(s)
	t.OAuthHandler = flow
	connection, err := sdk.NewClient(&sdk.Implementation{Name: "parley", Version: "1"}, nil).Connect(withExchange(ctx, &exchange{}), t, nil)
	if err != nil {
		return 0, fmt.Errorf("log in at MCP server %s: %w", s.Name, cmp.Or(flow.Err(), err))
	}
	defer func() { _ = connection.Close() }() // the login is stored
	list, err := connection.ListTools(ctx, nil)
	switch {
	case err != nil:
		return 0, fmt.Errorf("MCP server %s does not list its tools: %w", s.Name, cmp.Or(flow.Err(), err))
	case !flow.Saved():
		return len(list.Tools), ErrNoLogin
	}
	return len(list.Tools), nil
}

// Logout removes the login at a server and revokes it, as [oauth.Source.Logout] does.
func Logout(ctx context.Context, s *Server) (revoked bool, err error) {
	c := newClient(s)
	defer c.idle()
	if c.login == nil {
		return false, oauth.ErrNone
	}
	return c.login.Logout(ctx)
}

// LoginOf returns the login at a server; nil if there is none.
func LoginOf(s *Server) (*oauth.Login, error) {
	return oauth.Store{Dir: s.Logins, Learn: s.Learn}.Load(s.Name, s.URL)
}
