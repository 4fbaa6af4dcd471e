package brokertest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/credential"
	"github.com/parleybus/parley/internal/refusal"
	"github.com/parleybus/parley/internal/topology"
)

// Accounts is a server in this process with the generated configuration: each
// role has an account of its own.
type Accounts struct {
	URL   string
	Users map[string]topology.User // by name
	// Keys holds the users' keys; empty when they have the same [Password].
	Keys credential.Dir

	// Server is the server itself.
	Server *natsserver.Server

	refused *refusal.Log
}

// Password is that of all users of [Accounts].
const Password = "p"

// RoleUsers returns a user for each role, named like it. The workers may serve
// the named routes and tools.
func RoleUsers(routes, tools []string) []topology.User {
	all := topology.DefaultUsers(routes, tools)
	for i := range all {
		all[i].Password = Password
	}
	return all
}

// StartAccounts starts a server for users and stops it at the end of the test.
// change changes the configuration first.
func StartAccounts(t testing.TB, plan topology.Plan, users []topology.User, change ...func(*natsserver.Options)) Accounts {
	t.Helper()
	a := Accounts{Users: map[string]topology.User{}, refused: &refusal.Log{}}
	for _, u := range users {
		a.Users[u.Name] = u
	}
	path := filepath.Join(t.TempDir(), "nats.conf")
	write(t, path, topology.ServerConfig{Plan: plan, Users: users, Listen: "127.0.0.1:-1", Store: t.TempDir()})
	a.Server = startConfigured(t, path, a.refused, change...)
	a.URL = a.Server.ClientURL()
	return a
}

// write writes a configuration to a file.
func write(t testing.TB, path string, cfg topology.ServerConfig) {
	t.Helper()
	var text strings.Builder
	if err := cfg.Write(&text); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// startConfigured starts a server in this process until the end of the test. It
// reports denied requests to refused.
func startConfigured(t testing.TB, path string, refused *refusal.Log, change ...func(*natsserver.Options)) *natsserver.Server {
	t.Helper()
	opts, err := natsserver.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opts.NoLog, opts.NoSigs = true, true
	for _, fn := range change {
		fn(opts)
	}
	s, err := natsserver.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.SetLoggerV2(refused, false, false, false)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(startMost) {
		t.Fatal("the server does not get ready")
	}
	return s
}

// APIPrefix returns the prefix of a user's requests to JetStream; empty for the
// default.
func (a Accounts) APIPrefix(user string) string {
	if a.Users[user].HasStreams() {
		return ""
	}
	return topology.RoleAPI
}

// Inbox returns the prefix of a user's reply subjects.
func (a Accounts) Inbox(user string) string { return a.Users[user].Inbox() }

// Seed returns the file of a user's key; empty for a user with a password.
func (a Accounts) Seed(user string) string {
	if a.Keys == "" {
		return ""
	}
	return filepath.Join(string(a.Keys), user+".nk")
}

// Connect connects as a user; what the server reports comes on the channel.
func (a Accounts) Connect(t *testing.T, user string) (*nats.Conn, <-chan error) {
	t.Helper()
	reports := make(chan error, 1024)
	login := nats.UserInfo(user, Password)
	if seed := a.Seed(user); seed != "" {
		var err error
		if login, err = nats.NkeyOptionFromSeed(seed); err != nil {
			t.Fatal(err)
		}
	}
	nc, err := nats.Connect(a.URL, login, nats.CustomInboxPrefix(a.Inbox(user)), nats.Timeout(startMost/2),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { reports <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, reports
}
