package oauth

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"
)

// callback is the path to which the authorization server sends the browser back.
const callback = "/callback"

// Flow makes one login: a person allows it in a browser, which comes back to a port
// of this machine with a code.
type Flow struct {
	Source *Source
	// Show gets the address to open.
	Show func(address string) error
	// Paste is read for the address that the browser came back to, in place of
	// waiting for it here; may be nil. A read that blocks outlives the flow.
	Paste io.Reader

	handler  auth.OAuthHandler // the SDK's
	listener net.Listener
	server   *http.Server
	served   chan struct{}
	answers  chan answer
	state    string // of the request that is under way
	resource string
	asked    bool
	failed   error // the first failure
	saved    bool
}

// answer is what the authorization server answers through the browser.
type answer struct {
	result *auth.AuthorizationResult
	err    error
}

// Start listens for the browser. Then the flow is a handler that makes the login when
// a server asks for it. The caller must call [Flow.Close].
func (f *Flow) Start() error {
	s := f.Source
	if u, err := url.Parse(s.URL); err != nil || u.Scheme != "https" && !loopback(u.Hostname()) {
		return fmt.Errorf("a login at %s would send its tokens in clear text: give the server an https address", s.Server)
	}
	var err error
	if f.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("wait for the browser: %w", err)
	}
	f.answers, f.served = make(chan answer, 1), make(chan struct{})
	redirect := "http://" + f.listener.Addr().String() + callback
	f.server = &http.Server{Handler: http.HandlerFunc(f.serve), ReadHeaderTimeout: 5 * time.Second}
	cfg := &auth.AuthorizationCodeHandlerConfig{
		RedirectURL: redirect, AuthorizationCodeFetcher: f.fetch, NewTokenSource: f.save, Client: s.HTTP,
		RequestRefreshToken: true, AcceptUnadvertisedIss: true,
	}
	if s.Client.ID != "" {
		cfg.PreregisteredClient = &oauthex.ClientCredentials{ClientID: s.Client.ID}
		if s.Client.Secret != "" {
			cfg.PreregisteredClient.ClientSecretAuth = &oauthex.ClientSecretAuth{ClientSecret: s.Client.Secret}
		}
	} else {
		cfg.DynamicClientRegistrationConfig = &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
			ClientName: "Parley", RedirectURIs: []string{redirect}, TokenEndpointAuthMethod: "none",
			GrantTypes: []string{"authorization_code", "refresh_token"}, ResponseTypes: []string{"code"},
		}}
	}
	if len(s.Client.Scopes) > 0 {
		cfg.ScopeFilter = func([]string) []string { return s.Client.Scopes }
	}
	if f.handler, err = auth.NewAuthorizationCodeHandler(cfg); err != nil {
		return errors.Join(fmt.Errorf("log in at %s: %w", s.Server, err), f.listener.Close())
	}
	return nil
}

// TokenSource implements [auth.OAuthHandler].
func (f *Flow) TokenSource(ctx context.Context) (oauth2.TokenSource, error) {
	return f.handler.TokenSource(ctx)
}

// Authorize implements [auth.OAuthHandler]. It asks a person once: the SDK tries
// another handshake after a failure.
func (f *Flow) Authorize(ctx context.Context, r *http.Request, resp *http.Response) error {
	if f.failed != nil {
		return errors.Join(f.failed, resp.Body.Close())
	}
	err := f.handler.Authorize(ctx, r, resp)
	if err != nil {
		f.failed = reason(err)
	}
	return err
}

// Err is why the login failed; nil if it did not.
func (f *Flow) Err() error { return f.failed }

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Close stops listening.
func (f *Flow) Close() {
	if f.asked {
		_ = f.server.Close() // closes the listener
		<-f.served
		return
	}
	_ = f.listener.Close()
}

// Saved reports whether a login was stored.
func (f *Flow) Saved() bool { return f.saved }

// fetch shows the address and waits for the answer.
func (f *Flow) fetch(ctx context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
	if f.asked {
		return nil, errors.New("the server refuses the token that was just issued")
	}
	address, err := url.Parse(args.URL)
	if err != nil {
		return nil, err
	}
	f.state, f.resource = address.Query().Get("state"), address.Query().Get("resource")
	f.asked = true
	go func() {
		defer close(f.served)
		_ = f.server.Serve(f.listener) // until Close
	}()
	if err := f.Show(args.URL); err != nil {
		return nil, err
	}
	if f.Paste != nil {
		go f.read()
	}
	var got answer
	select {
	case <-ctx.Done():
		got.err = context.Cause(ctx)
	case got = <-f.answers:
	}
	if got.err != nil {
		return nil, got.err
	}
	if f.Source.Store.Learn != nil {
		f.Source.Store.Learn(got.result.Code)
	}
	return got.result, nil
}

// serve answers the browser.
func (f *Flow) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Referrer-Policy", "no-referrer")
	if r.URL.Path != callback || r.Method != http.MethodGet {
		http.NotFound(w, r)
		return
	}
	got := f.answered(r.URL.Query())
	if errors.Is(got.err, errState) {
		// Any page may send a browser here. The login still waits for its answer.
		http.Error(w, got.err.Error(), http.StatusBadRequest)
		return
	}
	if got.err != nil {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, "%v\n", got.err)
	} else {
		fmt.Fprintln(w, "Parley has the answer. Close this page and see the terminal.")
	}
	f.answer(got)
}

// answer passes on the first answer.
func (f *Flow) answer(got answer) {
	select {
	case f.answers <- got:
	default:
	}
}

// errState reports an answer to another request.
var errState = errors.New("this answer is not for the login that waits: its state differs; open the address that was printed last")

// answered reads the parameters of the address that the browser came back to.
func (f *Flow) answered(q url.Values) answer {
	switch {
	case q.Get("state") != f.state:
		return answer{err: errState}
	case q.Get("error") != "":
		return answer{err: fmt.Errorf("the authorization server refused the login: %s", words(q.Get("error"), q.Get("error_description")))}
	case q.Get("code") == "":
		return answer{err: errors.New("the authorization server answered without a code")}
	}
	return answer{result: &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}}
}

// read takes the address that a person pastes.
func (f *Flow) read() {
	line, err := bufio.NewReader(f.Paste).ReadString('\n')
	if line = strings.TrimSpace(line); line == "" {
		if err == nil || errors.Is(err, io.EOF) {
			err = errors.New("no address was given")
		}
		f.answer(answer{err: fmt.Errorf("read the address that the browser came back to: %w", err)})
		return
	}
	u, err := url.Parse(line)
	if err != nil || u.Path != callback {
		f.answer(answer{err: errors.New("this is not the address that the browser came back to: it begins with http://" + f.listener.Addr().String() + callback)})
		return
	}
	f.answer(f.answered(u.Query()))
}

// save stores the login when its tokens were issued.
func (f *Flow) save(ctx context.Context, cfg *oauth2.Config, t *oauth2.Token) (oauth2.TokenSource, error) {
	s := f.Source
	l := &Login{Server: s.Server, URL: s.URL, Resource: f.resource, TokenURL: cfg.Endpoint.TokenURL, AuthStyle: cfg.Endpoint.AuthStyle,
		ClientID: cfg.ClientID, Scopes: cfg.Scopes, AccessToken: t.AccessToken, RefreshToken: t.RefreshToken, Obtained: time.Now(), Expiry: t.Expiry}
	if cfg.ClientID != s.Client.ID {
		l.ClientSecret = cfg.ClientSecret
	}
	limited, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	unlock, err := s.Store.lock(limited, s.Server, s.URL)
	if err == nil {
		err = s.Store.save(l)
		unlock()
	}
	if err != nil {
		return nil, err
	}
	f.saved = true
	return oauth2.StaticTokenSource(t), nil
}

// reason returns an error of the flow without what an answer of the token endpoint
// repeats.
func reason(err error) error {
	if _, answered := errors.AsType[*oauth2.RetrieveError](err); !answered {
		return err
	}
	err = explain(err)
	if over, is := errors.AsType[*EndedError](err); is {
		return fmt.Errorf("the authorization server issued no token: %s", over.why)
	}
	return err
}
