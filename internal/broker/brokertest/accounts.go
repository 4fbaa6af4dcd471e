package brokertest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/topology"
)

// Accounts is a server in this process with the generated configuration: each
// role has an account of its own.
type Accounts struct {
	URL   string
	Users map[string]topology.User // by name
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
	a := Accounts{Users: map[string]topology.User{}}
	for _, u := range users {
		a.Users[u.Name] = u
	}
	var text strings.Builder
	cfg := topology.ServerConfig{Plan: plan, Users: users, Listen: "127.0.0.1:-1", Store: t.TempDir()}
	if err := cfg.Write(&text); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := natsserver.ProcessConfigFile(path)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text.String())
	}
	opts.NoLog, opts.NoSigs = true, true
	for _, fn := range change {
		fn(opts)
	}
	s, err := natsserver.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(startMost) {
		t.Fatal("the server does not get ready")
	}
	a.URL = s.ClientURL()
	return a
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

// Connect connects as a user; what the server reports comes on the channel.
func (a Accounts) Connect(t *testing.T, user string) (*nats.Conn, <-chan error) {
	t.Helper()
	reports := make(chan error, 1024)
	nc, err := nats.Connect(a.URL, nats.UserInfo(user, Password), nats.CustomInboxPrefix(a.Inbox(user)), nats.Timeout(startMost/2),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { reports <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, reports
}
