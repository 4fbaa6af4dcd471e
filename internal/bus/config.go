package bus

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Config holds how to reach a server. The fields other than URL are what the
// nats command line knows by the same names.
type Config struct {
	URL, Creds, NKey, Token, User, Password, CA, Cert, Key string

	// InboxPrefix is under what answers come; _INBOX when empty. A user with the
	// permissions of a role has that role's, [topology.Role.Inbox].
	InboxPrefix string
	// Name of the connection, shown by the server.
	Name string
	// Log receives connection losses and returns; discarded when nil.
	Log *slog.Logger
	// Dial connects instead of [net.Dial], if it is set.
	Dial func(network, address string) (net.Conn, error)
	// Options are added, for connections inside the process.
	Options []nats.Option
}

// Environment is the Config that variables give, under the names that the nats
// command line knows and NATS_INBOX_PREFIX; getenv is [Getenv], or a test's.
func Environment(getenv func(string) string) Config {
	return Config{
		URL: getenv("NATS_URL"), Creds: getenv("NATS_CREDS"), NKey: getenv("NATS_NKEY"), Token: getenv("NATS_TOKEN"),
		User: getenv("NATS_USER"), Password: getenv("NATS_PASSWORD"),
		CA: getenv("NATS_CA"), Cert: getenv("NATS_CERT"), Key: getenv("NATS_KEY"),
		InboxPrefix: getenv("NATS_INBOX_PREFIX"),
	}
}

// LocalURL is where `parley up` serves.
const LocalURL = "nats://127.0.0.1:4222"

// Or returns the configuration with its empty fields taken from another one, and
// [LocalURL] where both have no URL.
func (cfg Config) Or(other Config) Config {
	for _, f := range []struct{ to, from *string }{
		{&cfg.URL, &other.URL}, {&cfg.Creds, &other.Creds}, {&cfg.NKey, &other.NKey}, {&cfg.Token, &other.Token},
		{&cfg.User, &other.User}, {&cfg.Password, &other.Password}, {&cfg.CA, &other.CA}, {&cfg.Cert, &other.Cert},
		{&cfg.Key, &other.Key}, {&cfg.InboxPrefix, &other.InboxPrefix}, {&cfg.Name, &other.Name},
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
	if path := os.Getenv(name + "_FILE"); path != "" {
		if raw, err := os.ReadFile(path); err == nil {
			return strings.TrimSpace(string(raw))
		}
	}
	return ""
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
			if err != nil {
				log.Warn("lost the connection to NATS, reconnecting", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			b.link.connected()
			log.Info("connected to NATS again", "url", nc.ConnectedUrlRedacted())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				b.note(err)
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

// dialer is a function as a [nats.CustomDialer].
type dialer func(network, address string) (net.Conn, error)

// Dial implements [nats.CustomDialer].
func (d dialer) Dial(network, address string) (net.Conn, error) { return d(network, address) }

// withoutSecrets is a list of servers as it may be shown and logged.
func withoutSecrets(urls string) string {
	servers := strings.Split(urls, ",")
	for i, s := range servers {
		if at := strings.LastIndexByte(s, '@'); at >= 0 {
			scheme, _, found := strings.Cut(s[:at], "://")
			if servers[i] = s[at+1:]; found {
				servers[i] = scheme + "://" + servers[i]
			}
		}
	}
	return strings.Join(servers, ",")
}

func explainConnect(url string, err error) error {
	switch {
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrTimeout):
		return fmt.Errorf("no NATS server answers at %s: start one (`parley up`, or `nats-server -js`) or correct NATS_URL: %w", url, err)
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		return fmt.Errorf("the NATS server at %s refuses these credentials: check NATS_CREDS, NATS_USER and NATS_PASSWORD, or NATS_TOKEN: %w", url, err)
	}
	return fmt.Errorf("connect to NATS at %s: %w", url, err)
}

// InProcess returns a configuration that connects inside the process.
func (cfg Config) InProcess(server nats.Option) Config {
	cfg.Options = append(cfg.Options, server)
	return cfg
}
