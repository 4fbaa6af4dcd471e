package mcp_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/parleybus/parley/internal/mcp"
)

// authority is an authorization server, and the MCP server that it protects. It is
// strict: what a client leaves out or sends twice is refused.
type authority struct {
	t          *testing.T
	mcp, login string // addresses
	handler    http.Handler

	mu       sync.Mutex
	clients  map[string]url.Values // redirect_uris by client id
	codes    map[string]url.Values // the request that a code was issued for
	access   map[string]bool       // tokens that are accepted
	refresh  map[string]bool
	used     map[string]bool // refresh tokens that were rotated away
	reuse    bool            // a rotated refresh token came again
	lifetime int             // expires_in; 0 leaves it out
	issuer   string          // what the metadata and the answer say
	iss      string
	renewals int
	revoked  []string
	seen     []string // Authorization headers of the MCP server
	secrets  []string // all tokens and codes issued
	moved    string   // where the token endpoint redirects to
	down     bool     // the token endpoint answers 503
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, clients: map[string]url.Values{}, codes: map[string]url.Values{}, access: map[string]bool{}, refresh: map[string]bool{}, used: map[string]bool{}, lifetime: 3600}
	login := httptest.NewServer(http.HandlerFunc(a.serve))
	a.login, a.issuer = login.URL, login.URL
	a.handler = fresh(t, true)
	server := httptest.NewServer(http.HandlerFunc(a.resource))
	a.mcp = server.URL + "/mcp"
	t.Cleanup(func() {
		for _, s := range []*httptest.Server{login, server} {
			s.CloseClientConnections()
			s.Close()
		}
	})
	return a
}

func (a *authority) issue() string {
	s := rand.Text()
	a.secrets = append(a.secrets, s)
	return s
}

// resource is the MCP server.
func (a *authority) resource(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/.well-known/oauth-protected-resource") {
		respond(w, http.StatusOK, map[string]any{"resource": a.mcp, "authorization_servers": []string{a.login}, "scopes_supported": []string{"tools"}})
		return
	}
	given := r.Header.Get("Authorization")
	a.mu.Lock()
	a.seen = append(a.seen, given)
	ok := a.access[strings.TrimPrefix(given, "Bearer ")]
	a.mu.Unlock()
	if !ok {
		w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+strings.TrimSuffix(a.mcp, "/mcp")+`/.well-known/oauth-protected-resource/mcp"`)
		respond(w, http.StatusUnauthorized, map[string]any{"error": "invalid_token", "error_description": "show me a token"})
		return
	}
	a.handler.ServeHTTP(w, r)
}

func respond(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client sees a broken answer
}

func (a *authority) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := r.ParseForm(); err != nil {
		respond(w, http.StatusBadRequest, nil)
		return
	}
	switch r.URL.Path {
	case "/.well-known/oauth-authorization-server":
		respond(w, http.StatusOK, map[string]any{"issuer": a.issuer, "authorization_endpoint": a.login + "/authorize", "token_endpoint": a.login + "/token",
			"registration_endpoint": a.login + "/register", "revocation_endpoint": a.login + "/revoke", "code_challenge_methods_supported": []string{"S256"},
			"response_types_supported": []string{"code"}, "token_endpoint_auth_methods_supported": []string{"none", "client_secret_post"}})
	case "/register":
		var m struct {
			URIs []string `json:"redirect_uris"`
		}
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || len(m.URIs) != 1 {
			respond(w, http.StatusBadRequest, map[string]any{"error": "invalid_client_metadata"})
			return
		}
		id := rand.Text()
		a.clients[id] = url.Values{"redirect_uris": m.URIs}
		respond(w, http.StatusCreated, map[string]any{"client_id": id, "redirect_uris": m.URIs, "token_endpoint_auth_method": "none"})
	case "/token":
		if a.moved != "" {
			http.Redirect(w, r, a.moved, http.StatusTemporaryRedirect)
			return
		}
		a.token(w, r.PostForm)
	case "/revoke":
		a.revoked = append(a.revoked, r.PostForm.Get("token"))
		w.WriteHeader(http.StatusOK)
	default:
		http.NotFound(w, r)
	}
}

func (a *authority) token(w http.ResponseWriter, q url.Values) {
	refuse := func(code, why string) {
		respond(w, http.StatusBadRequest, map[string]any{"error": code, "error_description": why, "echo": q.Encode()})
	}
	if a.down {
		respond(w, http.StatusServiceUnavailable, map[string]any{})
		return
	}
	client := a.clients[q.Get("client_id")]
	switch {
	case client == nil || q.Get("client_secret") != client.Get("secret"):
		refuse("invalid_client", "who are you")
		return
	case q.Get("resource") != a.mcp:
		refuse("invalid_target", "for which resource")
		return
	}
	switch q.Get("grant_type") {
	case "authorization_code":
		asked, known := a.codes[q.Get("code")]
		delete(a.codes, q.Get("code"))
		sum := sha256.Sum256([]byte(q.Get("code_verifier")))
		if !known || asked.Get("redirect_uri") != q.Get("redirect_uri") || asked.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) {
			refuse("invalid_grant", "the code or its verifier is wrong")
			return
		}
	case "refresh_token":
		given := q.Get("refresh_token")
		a.reuse = a.reuse || a.used[given]
		if !a.refresh[given] {
			refuse("invalid_grant", "the refresh token has ended")
			return
		}
		delete(a.refresh, given)
		a.used[given] = true
		a.renewals++
	default:
		refuse("unsupported_grant_type", "")
		return
	}
	access, refresh := a.issue(), a.issue()
	a.access[access], a.refresh[refresh] = true, true
	answer := map[string]any{"access_token": access, "refresh_token": refresh, "token_type": "Bearer"}
	if a.lifetime > 0 {
		answer["expires_in"] = a.lifetime
	}
	respond(w, http.StatusOK, answer)
}

// allow is the person in the browser: it checks what the client asks for, and
// returns the address to which the browser is sent back.
func (a *authority) allow(address string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, err := url.Parse(address)
	if err != nil {
		a.t.Fatal(err)
	}
	q := u.Query()
	back, err := url.Parse(q.Get("redirect_uri"))
	client := a.clients[q.Get("client_id")]
	switch {
	case err != nil || client == nil || client.Get("secret") == "" && client.Get("redirect_uris") != q.Get("redirect_uri"):
		a.t.Errorf("client or redirect of %s", address)
	case q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || q.Get("resource") != a.mcp || q.Get("response_type") != "code" || len(q.Get("state")) < 16:
		a.t.Errorf("the request misses something: %s", address)
	}
	code := a.issue()
	a.codes[code] = q
	answer := url.Values{"code": {code}, "state": {q.Get("state")}}
	if a.iss != "" {
		answer.Set("iss", a.iss)
	}
	back.RawQuery = answer.Encode()
	return back.String()
}

func (a *authority) server(dir string) mcp.Server {
	return mcp.Server{Name: "peer", URL: a.mcp, Logins: dir}
}

// browse loads an address and returns the status.
func browse(t *testing.T, address string) int {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get(address)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // a short text
	return resp.StatusCode
}

// logIn logs in; the browser allows it.
func (a *authority) logIn(s mcp.Server) error {
	_, err := mcp.Login(a.t.Context(), &s, func(address string) error {
		browse(a.t, a.allow(address))
		return nil
	}, nil)
	a.clean(err)
	return err
}

// clean checks that an error has no token and no code.
func (a *authority) clean(err error) {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.secrets {
		if err != nil && strings.Contains(err.Error(), s) {
			a.t.Errorf("the error has a secret: %v", err)
		}
	}
}
