package parley

import (
	"context"
	"log/slog"
	"net"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/bus"
)

// Config holds how to reach the NATS server of a deployment. The zero value uses
// the environment variables of the nats command line: NATS_URL, NATS_CREDS,
// NATS_NKEY, NATS_TOKEN, NATS_USER, NATS_PASSWORD, NATS_CA, NATS_CERT, NATS_KEY,
// NATS_INBOX_PREFIX, NATS_JS_API_PREFIX and PARLEY_SIGN_KEY, each also as NAME_FILE for a file that holds the value. A
// field that is set takes precedence over its variable.
type Config struct {
	// URL of the server, or several separated by commas; nats://127.0.0.1:4222 when
	// there is none. The server of a `parley up` needs the token that is in the URL of
	// `parley env`.
	URL string
	// Creds and NKey are paths of files; CA, Cert and Key are those of TLS.
	Creds, NKey, Token, User, Password, CA, Cert, Key string
	// InboxPrefix is where a user with restricted permissions receives replies:
	// _INBOX_app for one with the permissions of an app. _INBOX when empty.
	InboxPrefix string
	// APIPrefix is the prefix of requests to JetStream: PARLEY.API for a user whose
	// role has an account of its own, see docs/security.md. $JS.API when empty.
	APIPrefix string
	// SignKey is the path of a file with the seed of a user nkey, or of a creds file:
	// inputs are signed with it, so that the orchestrator knows who spoke. Without it,
	// they are signed with the key of NKey or Creds.
	SignKey string
	// Name of the connection, as the server shows it; "parley client" when empty.
	Name string
	// Version of the program, which its workers announce: `parley doctor` lists it. That
	// of this module when empty.
	Version string
	// Log receives lost and restored connections; discarded when nil.
	Log *slog.Logger
	// Dial opens connections in place of [net.Dial], if it is set.
	Dial func(network, address string) (net.Conn, error)
	// Options are passed to [nats.Connect], such as [nats.InProcessServer].
	Options []nats.Option
}

// Client is a connection to a deployment. It is safe for concurrent use and
// reconnects by itself. Close it when it is no longer used.
type Client struct {
	bus    *bus.Bus
	paused paused
}

// Connect connects to a deployment. It fails with [CodeNoServer] when no server
// answers or the server refuses the credentials, and with [CodeNotSetUp] when the
// server has no Parley streams: an orchestrator creates them.
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	environment := bus.Environment(bus.Getenv)
	environment.Name = "parley client"
	b, err := bus.Connect(ctx, bus.Config(cfg).Or(environment), nil)
	if err != nil {
		return nil, connectError(err)
	}
	return &Client{bus: b}, nil
}

// Close sends what is buffered and closes the connection. Iterators of the client
// end with an error.
func (c *Client) Close() { c.bus.Close() }

// Connected reports whether the server can be reached now.
func (c *Client) Connected() bool { return c.bus.Connected() }

// URL is the server that the client is connected to, without credentials.
func (c *Client) URL() string { return c.bus.URL() }

// SignsAs is the public key with which the client signs inputs, as the rules file
// of a deployment lists it under identities; empty when it has no key.
func (c *Client) SignsAs() string { return c.bus.SignsAs() }

// NewID returns a new id for a conversation: a UUIDv7. It panics if the system has
// no randomness.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }
