package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

const (
	// renewTimeout bounds one renewal, with the wait for another process.
	renewTimeout = 30 * time.Second
	// renewAgain is how long a token that was issued for a refused one is not
	// replaced by yet another: the server refuses whatever it is given.
	renewAgain = time.Minute
)

// ErrNone reports that there is no login.
var ErrNone = errors.New("there is no login")

// EndedError reports that a login has ended: only a person can make another one.
type EndedError struct{ why string }

// Error implements error.
func (e *EndedError) Error() string { return "the login has ended (" + e.why + ")" }

// Client is a client that is configured at the authorization server; without an ID
// Parley registers itself.
type Client struct {
	ID, Secret string
	// Scopes are requested in place of those that the server names.
	Scopes []string
}

// Source gives the tokens of a login and renews them. It is safe for concurrent
// use, also by several processes with one store: each reads the file again, and one
// at a time renews.
type Source struct {
	Store       Store
	Server, URL string
	Client      Client
	HTTP        *http.Client // must not follow redirects to other hosts

	mu     sync.Mutex
	spent  string // a refresh token that was refused
	ended  *EndedError
	forced string // the access token that replaced a refused one
	when   time.Time
}

// Bind returns the source as one of x/oauth2, whose requests end with ctx.
func (s *Source) Bind(ctx context.Context) oauth2.TokenSource { return &bound{s, ctx} }

type bound struct {
	source *Source
	ctx    context.Context
}

// Token implements [oauth2.TokenSource]; nil if there is no login, or it has ended:
// the server then refuses the request in its own words.
func (b *bound) Token() (*oauth2.Token, error) {
	l, err := b.source.current(b.ctx)
	if l == nil || err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: l.AccessToken, Expiry: l.Expiry}, nil
}

// current returns a login whose access token is valid; nil if there is none.
func (s *Source) current(ctx context.Context) (*Login, error) {
	l, err := s.Store.Load(s.Server, s.URL)
	if l == nil || err != nil || l.fresh(time.Now()) {
		return l, err
	}
	next, err := s.renew(ctx, func(l *Login) bool { return l.fresh(time.Now()) })
	_, over := errors.AsType[*EndedError](err)
	switch {
	case err == nil:
		return next, nil
	case l.valid(time.Now()):
		return l, nil // until its end
	case over || errors.Is(err, ErrNone):
		return nil, nil
	}
	return nil, err
}

// Replace renews the login after the server refused an access token, which is empty
// if the request had none. Nil means that there is another token now.
func (s *Source) Replace(ctx context.Context, refused string) error {
	s.mu.Lock()
	again := refused != "" && refused == s.forced && time.Since(s.when) < renewAgain
	s.mu.Unlock()
	if again {
		return &EndedError{"the server refuses a token that was just issued"}
	}
	l, err := s.renew(ctx, func(l *Login) bool { return l.AccessToken != refused && l.valid(time.Now()) })
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.forced, s.when = l.AccessToken, time.Now()
	s.mu.Unlock()
	return nil
}

// renew replaces the tokens, unless what is stored by now is enough.
func (s *Source) renew(ctx context.Context, enough func(*Login) bool) (*Login, error) {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	if l, err := s.Store.Load(s.Server, s.URL); l == nil {
		if err == nil {
			err = ErrNone
		}
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	unlock, err := s.Store.lock(ctx, s.Server, s.URL)
	if err != nil {
		return nil, err
	}
	defer unlock()
	l, err := s.Store.Load(s.Server, s.URL) // another process may have renewed it, or logged out
	switch {
	case err != nil:
		return nil, err
	case l == nil:
		return nil, ErrNone
	case enough(l):
		return l, nil
	case l.RefreshToken == "":
		return nil, &EndedError{"its token has ended, and it has none to renew it with"}
	case l.RefreshToken == s.spent:
		return nil, s.ended
	}
	next, err := s.request(ctx, l)
	if over, is := errors.AsType[*EndedError](err); is {
		s.spent, s.ended = l.RefreshToken, over
	}
	if err != nil {
		return nil, err
	}
	return next, s.Store.save(next)
}

// secretOf returns the secret of a login's client: a configured one is not stored.
func (s *Source) secretOf(l *Login) string {
	if s.Client.ID == l.ClientID {
		return s.Client.Secret
	}
	return l.ClientSecret
}

// request requests new tokens. The refresh token is kept if the server issues no
// other one.
func (s *Source) request(ctx context.Context, l *Login) (*Login, error) {
	cfg := oauth2.Config{ClientID: l.ClientID, ClientSecret: s.secretOf(l), Endpoint: oauth2.Endpoint{TokenURL: l.TokenURL, AuthStyle: l.AuthStyle}}
	// The library's own refresh cannot name the resource (RFC 8707). A parameter
	// without a value, as code is here, counts as absent (RFC 6749, 3.2).
	t, err := cfg.Exchange(context.WithValue(ctx, oauth2.HTTPClient, s.HTTP), "",
		oauth2.SetAuthURLParam("grant_type", "refresh_token"),
		oauth2.SetAuthURLParam("refresh_token", l.RefreshToken),
		oauth2.SetAuthURLParam("resource", l.Resource))
	if err != nil {
		return nil, explain(err)
	}
	next := *l
	next.AccessToken, next.Obtained, next.Expiry = t.AccessToken, time.Now(), t.Expiry
	if t.RefreshToken != "" {
		next.RefreshToken = t.RefreshToken
	}
	return &next, nil
}

// explain returns an error of the token endpoint without the answer's body, which
// may repeat what was sent.
func explain(err error) error {
	refused, answered := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case !answered:
		return fmt.Errorf("the authorization server could not be asked for a token: %w", err)
	case refused.ErrorCode == "" && refused.Response.StatusCode >= http.StatusInternalServerError:
		return fmt.Errorf("the authorization server issues no token now: HTTP %d", refused.Response.StatusCode)
	}
	why := fmt.Sprintf("HTTP %d", refused.Response.StatusCode)
	if refused.ErrorCode != "" {
		why = words(refused.ErrorCode, refused.ErrorDescription)
	}
	switch refused.ErrorCode {
	case "temporarily_unavailable", "server_error", "slow_down":
		return fmt.Errorf("the authorization server issues no token now: %s", why)
	}
	return &EndedError{why}
}

// mostWords bounds what is quoted of an authorization server, in bytes.
const mostWords = 300

// words joins what an authorization server says of an error, on one line.
func words(code, description string) string {
	text := strings.Join(strings.Fields(code+" "+description), " ")
	if description != "" {
		text = strings.Join(strings.Fields(code+": "+description), " ")
	}
	if len(text) > mostWords {
		text = strings.ToValidUTF8(text[:mostWords], "") + "…"
	}
	return text
}
