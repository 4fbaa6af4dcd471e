package brokertest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/parleybus/parley/internal/credential"
	"github.com/parleybus/parley/internal/refusal"
	"github.com/parleybus/parley/internal/topology"
)

// Shared is a server in this process that several deployments share, as in
// docs/tenants.md: the configuration of the server includes a file for each tenant.
type Shared struct {
	*testing.T
	*natsserver.Server
	dir     string
	tenants []string
	refused *refusal.Log
}

// StartShared starts a server without tenants and stops it at the end of the test.
func StartShared(t *testing.T) *Shared {
	t.Helper()
	s := &Shared{T: t, dir: t.TempDir(), refused: &refusal.Log{}}
	s.write()
	s.Server = startConfigured(t, s.path("nats.conf"), s.refused)
	return s
}

func (s *Shared) path(name string) string { return filepath.Join(s.dir, name) }

// write writes the configuration of the server.
func (s *Shared) write() {
	s.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "listen: \"127.0.0.1:-1\"\njetstream { store_dir: %q, max_file_store: 1GB }\naccounts {\n", s.path("data"))
	for _, tenant := range s.tenants {
		fmt.Fprintf(&text, "  include \"%s.conf\"\n", tenant)
	}
	text.WriteString("  SYS { users: [ { user: sys, password: sys } ] }\n}\nsystem_account: SYS\n")
	if err := os.WriteFile(s.path("nats.conf"), []byte(text.String()), 0o600); err != nil {
		s.Fatal(err)
	}
}

// Config returns the file of a tenant's accounts.
func (s *Shared) Config(tenant string) string { return s.path(tenant + ".conf") }

// Tenant writes the accounts of a tenant, new or changed, and loads them. Users
// have keys of their own for each tenant.
func (s *Shared) Tenant(cfg topology.ServerConfig) Accounts {
	s.Helper()
	a := Accounts{URL: s.ClientURL(), Server: s.Server, Users: map[string]topology.User{}, Keys: credential.Dir(s.path("keys-" + cfg.Tenant)), refused: s.refused}
	cfg.Accounts, cfg.Users = true, slices.Clone(cfg.Users)
	for i, u := range cfg.Users {
		var err error
		if u.NKey, err = a.Keys.Key(u.Name); err != nil {
			s.Fatal(err)
		}
		cfg.Users[i] = u
		a.Users[u.Name] = u
	}
	write(s.T, s.Config(cfg.Tenant), cfg)
	if !slices.Contains(s.tenants, cfg.Tenant) {
		s.tenants = append(s.tenants, cfg.Tenant)
	}
	s.load()
	return a
}

// Without removes the accounts of a tenant.
func (s *Shared) Without(tenant string) {
	s.Helper()
	s.tenants = slices.DeleteFunc(s.tenants, func(t string) bool { return t == tenant })
	s.load()
}

// load makes the server read its configuration, twice: nats-server 2.15.3
// subscribes the service imports of an account that is new at the next reload.
func (s *Shared) load() {
	s.Helper()
	s.write()
	for range 2 {
		if err := s.Reload(); err != nil {
			s.Fatal(err)
		}
	}
}
