package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/mcp/oauth"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/tooltest"
)

func TestALoginIsMadeStoredAndUsed(t *testing.T) {
	a, dir := newAuthority(t), filepath.Join(t.TempDir(), "logins")
	s := a.server(dir)
	var learned sync.Map
	s.Learn = func(values ...string) {
		for _, v := range values {
			learned.Store(v, true)
		}
	}
	r := run(t, s)
	r.says("run `parley mcp login peer`")
	r.says("show me a token")
	if err := a.logIn(s); err != nil {
		t.Fatal(err)
	}
	// The worker that runs finds the login.
	if got, err := r.call(t.Context(), "echo", tool.Input{Arguments: echoX}); err != nil || got.Content != "you said x" {
		t.Errorf("%q, %v", got.Content, err)
	}
	private(t, dir)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, v := range a.secrets {
		if _, known := learned.Load(v); !known {
			t.Error("a secret that was issued is not known to the redactor")
		}
		if strings.Contains(r.log.String(), v) {
			t.Errorf("the log has a secret:\n%s", r.log)
		}
	}
}

// private checks that only the owner may read the logins.
func private(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		if !d.IsDir() {
			files++
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files, %v", files, err)
	}
}

func TestAConfiguredClientLogsInWithItsSecret(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	a.clients["known"] = url.Values{"secret": {"hush-hush-hush"}}
	s := a.server(dir)
	s.OAuth = oauth.Client{ID: "known", Secret: "hush-hush-hush", Scopes: []string{"read"}}
	if err := a.logIn(s); err != nil {
		t.Fatal(err)
	}
	a.forget()
	r := run(t, s)
	r.has("echo") // after a renewal with the secret
	all, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	raw, err := os.ReadFile(all[0])
	if err != nil || strings.Contains(string(raw), "hush") || !strings.Contains(string(raw), `"read"`) {
		t.Errorf("%s, %v", raw, err)
	}
}

// forget makes all access tokens invalid.
func (a *authority) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.access = map[string]bool{}
}

func TestALoginIsRenewed(t *testing.T) {
	for what, prepare := range map[string]func(a *authority){
		"before the token ends":        func(a *authority) { a.lifetime = -1 },
		"after the server refuses it":  func(*authority) {},
		"and without a known lifetime": func(a *authority) { a.lifetime = 0 },
	} {
		t.Run(what, func(t *testing.T) {
			a, dir := newAuthority(t), t.TempDir()
			prepare(a)
			ended := a.lifetime < 0
			if ended {
				a.lifetime = 1 // the margin of such a token is a fifth of a second
			}
			s := a.server(dir)
			if err := a.logIn(s); err != nil {
				t.Fatal(err)
			}
			if ended {
				age(t, dir)
			} else {
				a.forget()
			}
			a.mu.Lock()
			a.lifetime, a.seen = 3600, nil
			a.mu.Unlock()
			r := run(t, s)
			if got, err := r.call(t.Context(), "echo", tool.Input{Arguments: echoX}); err != nil || got.Content != "you said x" {
				t.Errorf("%q, %v", got.Content, err)
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.renewals != 1 || a.reuse {
				t.Errorf("%d renewals, reuse %v", a.renewals, a.reuse)
			}
			if ended && !a.access[strings.TrimPrefix(a.seen[0], "Bearer ")] {
				t.Error("a token that had ended was sent")
			}
		})
	}
}

// age makes a stored token end now.
func age(t *testing.T, dir string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	raw, err := os.ReadFile(all[0])
	var login map[string]any
	if err == nil {
		err = json.Unmarshal(raw, &login)
	}
	if err == nil {
		login["expiry"] = time.Now().Add(-time.Second)
		raw, err = json.Marshal(login)
	}
	if err == nil {
		err = os.WriteFile(all[0], raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestRenewalsAtOnceLoseNoToken: each source stands for a process. The authority
// accepts a refresh token once.
func TestRenewalsAtOnceLoseNoToken(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	s := a.server(dir)
	if err := a.logIn(s); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		login, err := mcp.LoginOf(&s)
		if err != nil {
			t.Fatal(err)
		}
		a.forget()
		var g sync.WaitGroup
		for range 8 {
			g.Go(func() {
				transport := &http.Transport{}
				defer transport.CloseIdleConnections()
				source := &oauth.Source{Store: oauth.Store{Dir: dir}, Server: "peer", URL: a.mcp, HTTP: oauth.NewClient(transport)}
				if err := source.Replace(context.Background(), login.AccessToken); err != nil {
					t.Error(err)
				}
			})
		}
		g.Wait()
	}
	if a.renewals != 5 || a.reuse {
		t.Errorf("%d renewals of 5, reuse %v", a.renewals, a.reuse)
	}
}

func TestALoginThatHasEndedSaysWhatToDo(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	s := a.server(dir)
	if err := a.logIn(s); err != nil {
		t.Fatal(err)
	}
	r := run(t, s)
	r.has("echo")
	a.mu.Lock()
	a.access, a.refresh = map[string]bool{}, map[string]bool{}
	a.mu.Unlock()
	_, err := r.call(t.Context(), "echo", tool.Input{Arguments: echoX})
	a.clean(err)
	tooltest.Failed(t, err, "the login has ended (invalid_grant: the refresh token has ended): run `parley mcp login peer`")
	if err := a.logIn(s); err != nil {
		t.Fatal(err)
	}
	late := time.After(20 * time.Second)
	for {
		if got, err := r.call(t.Context(), "echo", tool.Input{Arguments: echoX}); err == nil && got.Content == "you said x" {
			return
		}
		select {
		case <-late:
			t.Fatal("the new login is not used")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestAnAuthorizationServerThatIsAwayEndsNoLogin(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	s := a.server(dir)
	if err := a.logIn(s); err != nil {
		t.Fatal(err)
	}
	a.forget()
	a.mu.Lock()
	a.down = true
	a.mu.Unlock()
	r := run(t, s)
	r.says("issues no token now: HTTP 503")
	a.mu.Lock()
	a.down = false
	a.mu.Unlock()
	r.has("echo")
}

func TestALogoutRevokesAndRemoves(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	s := a.server(dir)
	if err := a.logIn(s); err != nil {
		t.Fatal(err)
	}
	login, err := mcp.LoginOf(&s)
	if err != nil || login == nil {
		t.Fatal(login, err)
	}
	if revoked, err := mcp.Logout(t.Context(), &s); err != nil || !revoked {
		t.Errorf("revoked %v, %v", revoked, err)
	}
	if len(a.revoked) != 1 || a.revoked[0] != login.RefreshToken {
		t.Errorf("%d tokens were revoked", len(a.revoked))
	}
	if left, err := mcp.LoginOf(&s); left != nil || err != nil {
		t.Errorf("there is a login: %v", err)
	}
	if _, err := mcp.Logout(t.Context(), &s); !errors.Is(err, oauth.ErrNone) {
		t.Errorf("another logout: %v", err)
	}
}

func TestAnAnswerThatIsNotForThisLoginIsRefused(t *testing.T) {
	for what, c := range map[string]struct {
		answer func(a *authority, address string) string
		want   string
	}{
		"another issuer": {func(a *authority, address string) string { a.iss = "https://evil.example"; return a.allow(address) }, "does not match expected issuer"},
		"a refusal": {func(a *authority, address string) string {
			u, _ := url.Parse(a.allow(address))
			return strings.Split(u.String(), "?")[0] + "?error=access_denied&error_description=not+you&state=" + u.Query().Get("state")
		}, "refused the login: access_denied: not you"},
		"a code of nobody's": {func(a *authority, address string) string {
			u, _ := url.Parse(a.allow(address))
			q := u.Query()
			q.Set("code", "made-up-code")
			u.RawQuery = q.Encode()
			return u.String()
		}, "issued no token: invalid_grant: the code or its verifier is wrong"},
	} {
		t.Run(what, func(t *testing.T) {
			a, dir := newAuthority(t), t.TempDir()
			s := a.server(dir)
			_, err := mcp.Login(t.Context(), &s, func(address string) error {
				browse(t, c.answer(a, address))
				return nil
			}, nil)
			a.clean(err)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if login, err := mcp.LoginOf(&s); login != nil || err != nil {
				t.Errorf("there is a login: %v", err)
			}
		})
	}
	t.Run("metadata of another issuer", func(t *testing.T) {
		a := newAuthority(t)
		a.issuer = "https://evil.example"
		if err := a.logIn(a.server(t.TempDir())); err == nil || !strings.Contains(err.Error(), "does not match issuer") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("another state", func(t *testing.T) {
		a := newAuthority(t)
		s := a.server(t.TempDir())
		_, err := mcp.Login(t.Context(), &s, func(address string) error {
			right := a.allow(address)
			u, _ := url.Parse(right)
			q := u.Query()
			q.Set("state", "another")
			u.RawQuery = q.Encode()
			if status := browse(t, u.String()); status != http.StatusBadRequest {
				t.Errorf("the browser got %d", status)
			}
			if login, err := mcp.LoginOf(&s); login != nil || err != nil {
				t.Errorf("there is a login: %v", err)
			}
			browse(t, right) // the login still waits for its answer
			return nil
		}, nil)
		if err != nil {
			t.Error(err)
		}
	})
}

func TestAPastedAddressLogsIn(t *testing.T) {
	for what, c := range map[string]struct {
		change func(string) string
		want   string
	}{
		"the right one": {func(s string) string { return s + "\n" }, ""},
		"another state": {func(s string) string { return strings.Replace(s, "state=", "state=x", 1) + "\n" }, "its state differs"},
		"another page":  {func(string) string { return "https://example.com/\n" }, "not the address that the browser came back to"},
		"nothing":       {func(string) string { return "" }, "no address was given"},
	} {
		t.Run(what, func(t *testing.T) {
			a := newAuthority(t)
			s := a.server(t.TempDir())
			pasted := &later{}
			_, err := mcp.Login(t.Context(), &s, func(address string) error {
				pasted.Reader = strings.NewReader(c.change(a.allow(address)))
				return nil
			}, pasted)
			a.clean(err)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// later is a reader that is set before it is read.
type later struct{ io.Reader }

func TestALoginThatNobodyMakesEndsInTime(t *testing.T) {
	a := newAuthority(t)
	s := a.server(t.TempDir())
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := mcp.Login(ctx, &s, func(string) error {
		cancel(errors.New("nobody logged in"))
		return nil
	}, nil)
	if err == nil || !strings.Contains(err.Error(), "nobody logged in") {
		t.Errorf("got %v", err)
	}
}

func TestAServerWithoutOAuthNeedsNoLogin(t *testing.T) {
	_, address := listen(t, fresh(t, true))
	s := mcp.Server{Name: "peer", URL: address, Logins: t.TempDir()}
	if n, err := mcp.Login(t.Context(), &s, func(string) error { return errors.New("shown") }, nil); !errors.Is(err, mcp.ErrNoLogin) || n == 0 {
		t.Errorf("%d tools, %v", n, err)
	}
	// Its refusal is about its headers.
	_, address = listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, "no key")
	}))
	run(t, mcp.Server{URL: address, Logins: t.TempDir()}).says("no key: correct the credentials in its headers")
}

// TestATokenIsSentNowhereElse: a server that redirects, and one that has another
// address now.
func TestATokenIsSentNowhereElse(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	s := a.server(dir)
	if err := a.logIn(s); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got []string
	_, thief := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // an empty one is none
		mu.Lock()
		got = append(got, r.Header.Get("Authorization")+string(body))
		mu.Unlock()
		w.WriteHeader(http.StatusUnauthorized)
	}))
	a.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief+"/mcp", http.StatusTemporaryRedirect)
	})
	run(t, s).says("it redirects to")
	moved := s
	moved.URL = thief + "/mcp"
	run(t, moved).says("refuses access")
	mu.Lock()
	defer mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, text := range got {
		for _, secret := range a.secrets {
			if strings.Contains(text, secret) {
				t.Errorf("a token went to another host: %s", text)
			}
		}
	}
}

func TestALoginThatOthersMayReadIsNotUsed(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	s := a.server(dir)
	if err := a.logIn(s); err != nil {
		t.Fatal(err)
	}
	all, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if err := os.Chmod(all[0], 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, s).says("others may read the login")
}

func TestARedirectOfTheTokenEndpointIsNotFollowed(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	s := a.server(dir)
	if err := a.logIn(s); err != nil {
		t.Fatal(err)
	}
	_, thief := listen(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a refresh token went to another host") }))
	a.forget()
	a.mu.Lock()
	a.moved = thief + "/token"
	a.mu.Unlock()
	r := run(t, s)
	r.says("redirects to another host")
	a.clean(errors.New(r.log.String()))
	if login, err := mcp.LoginOf(&s); login == nil || err != nil {
		t.Errorf("the login is gone: %v", err)
	}
}
