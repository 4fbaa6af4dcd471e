package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// requestTimeout bounds a request to an authorization server.
const requestTimeout = 20 * time.Second

// NewClient returns a client for requests to authorization servers. It follows no
// redirect to another host: a request may hold a token, a code or a secret.
func NewClient(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: transport, Timeout: requestTimeout, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		switch first := via[0].URL; {
		case r.URL.Scheme != first.Scheme || r.URL.Host != first.Host:
			return fmt.Errorf("%s redirects to another host, %s, which is not followed", first.Host, r.URL.Host)
		case len(via) > 5:
			return errors.New("it redirects more than 5 times")
		}
		return nil
	}}
}

// Wanted reports whether a refusal can be answered by a login: its challenge says
// so, or the server describes its authorization where RFC 9728 has it.
func Wanted(ctx context.Context, c *http.Client, resp *http.Response, server string) bool {
	challenges, err := oauthex.ParseWWWAuthenticate(resp.Header.Values("WWW-Authenticate"))
	if err != nil {
		challenges = nil
	}
	for _, one := range challenges {
		if one.Scheme == "bearer" && (one.Params["resource_metadata"] != "" && resp.StatusCode == http.StatusUnauthorized || one.Params["error"] == "insufficient_scope") {
			return true
		}
	}
	if resp.StatusCode != http.StatusUnauthorized {
		return false
	}
	return len(issuers(ctx, c, server)) > 0
}

// issuers returns the authorization servers that a server names at the paths of RFC
// 9728.
func issuers(ctx context.Context, c *http.Client, server string) []string {
	u, err := url.Parse(server)
	if err != nil {
		return nil
	}
	const well = "/.well-known/oauth-protected-resource"
	at, root := *u, *u
	at.Path, at.RawQuery, root.Path, root.RawQuery = well+"/"+strings.TrimLeft(u.Path, "/"), "", "", ""
	for _, place := range [][2]string{{at.String(), server}, {root.String() + well, root.String()}} {
		if found, err := oauthex.GetProtectedResourceMetadata(ctx, place[0], place[1], c); err == nil && len(found.AuthorizationServers) > 0 {
			return found.AuthorizationServers
		}
	}
	return nil
}

// Logout removes the login at a server, and revokes its token where the
// authorization server takes that (RFC 7009). It returns [ErrNone] without a login.
// revoked is false if the authorization server may still accept the token.
func (s *Source) Logout(ctx context.Context) (revoked bool, err error) {
	unlock, err := s.Store.lock(ctx, s.Server, s.URL)
	if err != nil {
		return false, err
	}
	defer unlock()
	l, err := s.Store.Load(s.Server, s.URL)
	if l == nil && err == nil {
		return false, ErrNone
	}
	if removing := os.Remove(s.Store.path(s.Server, s.URL)); removing != nil {
		return false, fmt.Errorf("remove the login: %w", removing)
	}
	return l != nil && s.revoke(ctx, l) == nil, nil
}

func (s *Source) revoke(ctx context.Context, l *Login) error {
	token, err := url.Parse(l.TokenURL)
	if err != nil {
		return err
	}
	for _, issuer := range append(issuers(ctx, s.HTTP, l.URL), token.Scheme+"://"+token.Host) {
		meta, err := auth.GetAuthServerMetadata(ctx, issuer, s.HTTP)
		if err != nil || meta == nil || meta.TokenEndpoint != l.TokenURL || meta.RevocationEndpoint == "" {
			continue
		}
		at, err := url.Parse(meta.RevocationEndpoint)
		if err != nil || at.Scheme != "https" && at.Host != token.Host {
			continue
		}
		return s.post(ctx, at.String(), l)
	}
	return errors.New("it takes no revocation")
}

func (s *Source) post(ctx context.Context, address string, l *Login) error {
	form := url.Values{"token": {l.AccessToken}, "token_type_hint": {"access_token"}, "client_id": {l.ClientID}}
	if l.RefreshToken != "" { // revoking it ends the access tokens too
		form.Set("token", l.RefreshToken)
		form.Set("token_type_hint", "refresh_token")
	}
	if secret := s.secretOf(l); secret != "" {
		form.Set("client_secret", secret)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := s.HTTP.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16)) // only its status counts
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	return nil
}
