package tool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley/internal/bus"
	contract "github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/topology"
	"github.com/parleybus/parley/internal/worker"
)

// Server serves tools. The zero value is ready to use: it reads the address of
// the NATS server and the credentials from the environment, from the variables
// that Parley's own programs read: NATS_URL, NATS_CREDS, NATS_NKEY, NATS_TOKEN,
// NATS_USER and NATS_PASSWORD, NATS_CA, NATS_CERT and NATS_KEY,
// NATS_INBOX_PREFIX and NATS_JS_API_PREFIX, each also as NAME_FILE for a file that holds the value. A
// field that is set overrides its variable.
type Server struct {
	// URL of the NATS server, or several separated by commas; by default
	// nats://127.0.0.1:4222. The server of a `parley up` needs the token that is in
	// the URL of `parley env`.
	URL string
	// Creds and NKey are files; CA, Cert and Key are those of TLS.
	Creds, NKey, Token, User, Password, CA, Cert, Key string
	// InboxPrefix is the inbox prefix of a user with restricted permissions:
	// _INBOX_tool-worker for the permissions of a tool-worker.
	InboxPrefix string
	// APIPrefix is the prefix of requests to JetStream: PARLEY.API for a user whose
	// role has an account of its own. $JS.API when empty.
	APIPrefix string
	// Name of this worker in logs and in `parley tools`: letters, digits, _ and
	// -. By default it is made from host and process. A few random letters are
	// appended, so that no two workers have the same name.
	Name string
	// Slots is the number of calls of each tool that run at once; 16 if zero.
	// MaxCalls bounds the calls of all tools together; no bound if zero.
	Slots, MaxCalls int
	// Drain is how long running calls may continue after ctx has ended; 10 s if
	// zero, not at all if negative.
	Drain time.Duration
	// Log receives log records; slog.Default() if nil.
	Log *slog.Logger
	// Options are passed to [nats.Connect], such as [nats.InProcessServer].
	Options []nats.Option
}

// Serve serves tools on the NATS server at url, with the defaults of [Server];
// an empty url means NATS_URL. See [Server.Serve].
func Serve(ctx context.Context, url string, tools ...Tool) error {
	return Server{URL: url}.Serve(ctx, tools...)
}

// Serve announces tools and runs their calls until ctx ends. Then it takes no
// more calls, lets running calls finish within Drain, hands the others back to
// other workers at once, if their effect class allows it, and returns nil. It
// waits for a NATS server or a deployment that does not exist yet, and
// reconnects after outages. If another worker serves a tool of the same name
// with another schema or effect class, Serve logs that and does not serve the
// tool until that worker has stopped. Serve returns an error if definitions are
// wrong, before it serves anything; if the server refuses the credentials; or
// if ctx ended before a server was reachable.
func (s Server) Serve(ctx context.Context, tools ...Tool) error {
	registry, err := registry(tools)
	if err != nil {
		return err
	}
	if s.Log == nil {
		s.Log = slog.Default()
	}
	if s.Name != "" {
		if err := topology.CheckToken("worker", s.Name); err != nil {
			return fmt.Errorf("the name of the server: %w", err)
		}
	}
	s.Name = worker.UniqueName(cmp.Or(s.Name, ownName()))
	s.Drain = max(cmp.Or(s.Drain, 10*time.Second), 0)
	b, err := bus.Wait(ctx, s.config(bus.Environment(bus.Getenv)), nil)
	if err != nil {
		return fmt.Errorf("serve tools: %w", err)
	}
	defer b.Close()
	b.WithoutConsumers()
	for _, spec := range registry.Specs() {
		s.Log.Info("serves", "tool", spec.Name, "effect", spec.Effect, "worker", s.Name, "nats", b.URL())
	}
	w := &worker.Tool{Bus: b, Name: s.Name, Log: s.Log, Tools: registry, Slots: s.Slots, MaxCalls: s.MaxCalls, Drain: s.Drain}
	if err := w.Run(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve tools: %w", err)
	}
	return nil
}

// registry returns the tools to serve, or all errors in their definitions.
func registry(tools []Tool) (*contract.Registry, error) {
	if len(tools) == 0 {
		return nil, errors.New("serve tools: there are no tools: pass at least one to Serve")
	}
	var problems []error
	var all []contract.Tool
	for _, t := range tools {
		if t.run == nil && t.err == nil {
			t.err = errors.New("a Tool is empty: make it with tool.Func")
		}
		problems = append(problems, t.err)
		all = append(all, served{t})
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return contract.New(all...)
}

// config returns the connection settings: the fields that are set, else the
// environment.
func (s Server) config(environment bus.Config) bus.Config {
	return bus.Config{
		URL: s.URL, Creds: s.Creds, NKey: s.NKey, Token: s.Token, User: s.User, Password: s.Password, CA: s.CA, Cert: s.Cert, Key: s.Key,
		InboxPrefix: s.InboxPrefix, APIPrefix: s.APIPrefix, Name: "tool-worker " + s.Name, Log: s.Log, Options: s.Options,
	}.Or(environment)
}

// ownName returns a name made from host and process.
func ownName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	host = strings.Map(func(r rune) rune {
		if topology.CheckToken("", string(r)) != nil {
			return '-'
		}
		return r
	}, host)
	return fmt.Sprintf("%.40s-%d", host, os.Getpid())
}
