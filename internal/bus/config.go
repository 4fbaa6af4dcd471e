package bus

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/secret"
)

// Config holds how to reach a server. The fields other than URL are what the
// nats command line knows by the same names.
type Config struct {
	URL, Creds, NKey, Token, User, Password, CA, Cert, Key string

	// InboxPrefix is the prefix of the subjects of answers; _INBOX when empty. A user
	// with the permissions of a role has its own, [topology.User.Inbox].
	InboxPrefix string
	// APIPrefix is the prefix of requests to JetStream, without a last dot; $JS.API
	// when empty. A user whose role has an account of its own gives
	// [topology.RoleAPI], and reads through consumers that an orchestrator creates.
	APIPrefix string
	// SignKey is the path of a file with the user seed with which inputs are signed;
	// without it, NKey's or Creds' is used.
	SignKey string
	// Name of the connection, shown by the server.
	Name string
	// Version is that of the program, which its workers announce; that of this module
	// when empty, as far as the binary knows it.
	Version string
	// Log receives connection losses and returns; discarded when nil.
	Log *slog.Logger
	// Dial connects instead of [net.Dial], if it is set.
	Dial func(network, address string) (net.Conn, error)
	// Options are added, for connections inside the process.
	Options []nats.Option
}

// Environment returns the Config that environment variables give: those of the
// nats command line, NATS_INBOX_PREFIX, NATS_JS_API_PREFIX and PARLEY_SIGN_KEY. getenv is [Getenv],
// or a test's.
func Environment(getenv func(string) string) Config {
	return Config{
		URL: getenv("NATS_URL"), Creds: getenv("NATS_CREDS"), NKey: getenv("NATS_NKEY"), Token: getenv("NATS_TOKEN"),
		User: getenv("NATS_USER"), Password: getenv("NATS_PASSWORD"),
		CA: getenv("NATS_CA"), Cert: getenv("NATS_CERT"), Key: getenv("NATS_KEY"),
		InboxPrefix: getenv("NATS_INBOX_PREFIX"), APIPrefix: getenv("NATS_JS_API_PREFIX"), SignKey: getenv("PARLEY_SIGN_KEY"),
	}
}

// LocalURL is where a NATS server is looked for. The one of `parley up` needs a token
// in addition, see `parley env`.
const LocalURL = "nats://127.0.0.1:4222"

// Or returns the configuration with its empty fields taken from another one, and
// [LocalURL] where both have no URL.
func (cfg Config) Or(other Config) Config {
	for _, f := range []struct{ to, from *string }{
		{&cfg.URL, &other.URL}, {&cfg.Creds, &other.Creds}, {&cfg.NKey, &other.NKey}, {&cfg.Token, &other.Token},
		{&cfg.User, &other.User}, {&cfg.Password, &other.Password}, {&cfg.CA, &other.CA}, {&cfg.Cert, &other.Cert},
		{&cfg.Key, &other.Key}, {&cfg.InboxPrefix, &other.InboxPrefix}, {&cfg.APIPrefix, &other.APIPrefix}, {&cfg.SignKey, &other.SignKey}, {&cfg.Name, &other.Name}, {&cfg.Version, &other.Version},
	} {
		*f.to = cmp.Or(*f.to, *f.from)
	}
	cfg.URL = cmp.Or(cfg.URL, LocalURL)
	return cfg
}

// Getenv looks up an environment variable; the customary NAME_FILE gives the
// name of a file that holds the value.
func Getenv(name string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return ReadVariable(os.Getenv(name + "_FILE"))
}

// ReadVariable returns the value of a variable that a file holds; empty when the
// file cannot be read.
func ReadVariable(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return secret.Clean(string(raw))
}

func (cfg Config) options(b *Bus) ([]nats.Option, error) {
	log := cfg.Log
	opts := []nats.Option{
		nats.Name(cfg.Name),
		nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond),
		// Refused credentials end [Connect]. Later they are a server that is being
		// set up again: nats.go would close the connection for good.
		nats.IgnoreAuthErrorAbort(),
		// What is sent while disconnected fails at once and is retried by us,
		// rather than sent later without our knowledge.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(20 * time.Second),
		nats.PermissionErrOnSubscribe(true),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.acks.lost()
			if err != nil {
				log.Warn("lost the connection to NATS, reconnecting", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			b.link.connected()
			log.Info("connected to NATS again", "url", secret.URL(nc.ConnectedUrl()))
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				b.acks.denied(b.denied.note(err))
			}
			if !errors.Is(err, nats.ErrSlowConsumer) {
				log.Warn("NATS reports an error", "error", err)
			}
		}),
	}
	if cfg.Dial != nil {
		opts = append(opts, nats.SetCustomDialer(dialer(cfg.Dial)))
	}
	if cfg.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(cfg.InboxPrefix))
	}
	if cfg.Creds != "" {
		opts = append(opts, nats.UserCredentials(cfg.Creds))
	}
	if cfg.NKey != "" {
		o, err := nats.NkeyOptionFromSeed(cfg.NKey)
		if err != nil {
			return nil, fmt.Errorf("read NATS_NKEY file %s: %w", cfg.NKey, err)
		}
		opts = append(opts, o)
	}
	if cfg.Token != "" {
		opts = append(opts, nats.Token(cfg.Token))
	}
	if cfg.User != "" {
		opts = append(opts, nats.UserInfo(cfg.User, cfg.Password))
	}
	if cfg.CA != "" {
		opts = append(opts, nats.RootCAs(cfg.CA))
	}
	if cfg.Cert != "" {
		opts = append(opts, nats.ClientCert(cfg.Cert, cfg.Key))
	}
	return append(opts, cfg.Options...), nil
}

// jetStream returns JetStream under the configured prefix.
func (cfg Config) jetStream(nc *nats.Conn) (jetstream.JetStream, error) {
	if cfg.APIPrefix == "" {
		return jetstream.New(nc)
	}
	return jetstream.NewWithAPIPrefix(nc, strings.TrimSuffix(cfg.APIPrefix, ".")+".")
}

// dialer is a function as a [nats.CustomDialer].
type dialer func(network, address string) (net.Conn, error)

// Dial implements [nats.CustomDialer].
func (d dialer) Dial(network, address string) (net.Conn, error) { return d(network, address) }

func explainConnect(at string, err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = lastingError{u.Err} // the text of u has the whole URL
	}
	switch {
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrTimeout):
		return fmt.Errorf("no NATS server answers at %s: start one (`parley up`, or `nats-server -js`) or correct NATS_URL: %w", at, err)
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		return fmt.Errorf("the NATS server at %s refuses these credentials: check NATS_NKEY, NATS_CREDS, NATS_USER and NATS_PASSWORD, or NATS_TOKEN; the server of a `parley up` has a new token after each start, see `parley env`: %w", at, err)
	}
	return fmt.Errorf("connect to NATS at %s: %w", at, err)
}

// InProcess returns a configuration that connects inside the process.
func (cfg Config) InProcess(server nats.Option) Config {
	cfg.Options = append(cfg.Options, server)
	return cfg
}

// moduleVersion returns the version of this module in the binary; empty when it does
// not say, as in a test.
func moduleVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == modulePath && m.Version != "(devel)" {
			return m.Version
		}
	}
	return ""
}

const modulePath = "github.com/parleybus/parley"
