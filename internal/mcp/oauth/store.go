// Package oauth keeps the logins at MCP servers over HTTP: it makes them with the
// browser of a person, stores them in files that only their owner may read, and
// renews their tokens. What a login needs of the server and of its authorization
// server is found as the MCP specification says, by the SDK.
//
// Tokens go to the address that a login was made for, and to the authorization
// server that issued them. No error has one in its text.
package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/oauth2"

	"github.com/parleybus/parley/internal/filelock"
)

// Login is what is stored of a login at a server.
type Login struct {
	Server   string   `json:"server"` // its name
	URL      string   `json:"url"`    // what the tokens are for; they go nowhere else
	Resource string   `json:"resource"`
	TokenURL string   `json:"token_endpoint"`
	ClientID string   `json:"client_id"`
	Scopes   []string `json:"scopes,omitempty"`
	// ClientSecret is that of a client that registered itself. A configured one is
	// not stored.
	ClientSecret string           `json:"client_secret,omitempty"`
	AuthStyle    oauth2.AuthStyle `json:"auth_style"`
	AccessToken  string           `json:"access_token"`
	RefreshToken string           `json:"refresh_token,omitempty"`
	Obtained     time.Time        `json:"obtained"`
	Expiry       time.Time        `json:"expiry,omitzero"` // zero: unknown
}

// maxMargin is the longest time before its end at which a token is renewed.
const maxMargin = time.Minute

// fresh reports whether the access token does not end soon.
func (l *Login) fresh(now time.Time) bool {
	return l.Expiry.IsZero() || now.Before(l.Expiry.Add(-min(maxMargin, l.Expiry.Sub(l.Obtained)/5)))
}

// valid reports whether the access token has not ended.
func (l *Login) valid(now time.Time) bool { return l.Expiry.IsZero() || now.Before(l.Expiry) }

// Store is a directory with a file for each login.
type Store struct {
	Dir string
	// Learn gets the tokens and secrets that are read or issued, for the redactor;
	// may be nil.
	Learn func(values ...string)
}

// path returns the file of a login. A server that gets another address needs
// another login.
func (s Store) path(server, url string) string {
	sum := sha256.Sum256([]byte(url))
	return filepath.Join(s.Dir, fmt.Sprintf("%s-%s.json", filepath.Base(server), hex.EncodeToString(sum[:6])))
}

func (s Store) learn(l *Login) {
	if s.Learn != nil {
		s.Learn(l.AccessToken, l.RefreshToken, l.ClientSecret)
	}
}

// Load reads the login at a server; nil if there is none. A file that others may
// read is an error.
func (s Store) Load(server, url string) (*Login, error) {
	if s.Dir == "" {
		return nil, nil
	}
	path := s.path(server, url)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the login: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the login: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("others may read the login in %s: run `chmod 600` on it, or log in again if somebody may have", path)
	}
	var l Login
	if err := json.NewDecoder(f).Decode(&l); err != nil || l.URL != url || l.AccessToken == "" {
		return nil, fmt.Errorf("the file %s is no login at %s: remove it and run `parley mcp login %s`", path, server, server)
	}
	s.learn(&l)
	return &l, nil
}

// Save writes a login, whole or not at all. The caller holds the lock, or has just
// logged in.
func (s Store) save(l *Login) (err error) {
	s.learn(l)
	raw, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("store the login: %w", err)
	}
	next, err := os.CreateTemp(s.Dir, ".login-*") // mode 0600
	if err != nil {
		return fmt.Errorf("store the login: %w", err)
	}
	_, err = next.Write(append(raw, '\n'))
	if err == nil {
		err = next.Sync()
	}
	err = errors.Join(err, next.Close())
	if err == nil {
		err = os.Rename(next.Name(), s.path(l.Server, l.URL))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("store the login: %w", err), os.Remove(next.Name()))
	}
	return nil
}

// lockEvery is the interval at which a lock is tried that another process has.
const lockEvery = 20 * time.Millisecond

// lock waits until no other process changes the login, and returns what ends that.
func (s Store) lock(ctx context.Context, server, url string) (unlock func(), err error) {
	if s.Dir == "" {
		return nil, errors.New("there is no directory for logins: set PARLEY_LOGINS to one")
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory for logins: %w", err)
	}
	f, err := os.OpenFile(s.path(server, url)+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the login: %w", err)
	}
	tick := time.NewTicker(lockEvery)
	defer tick.Stop()
	for {
		taken, err := filelock.Lock(f)
		if err == nil && !taken {
			return func() { _ = f.Close() }, nil // nothing was written to it
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock the login: %w", err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("another process holds the login at %s: %w", server, context.Cause(ctx)), f.Close())
		case <-tick.C:
		}
	}
}
