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

// Server serves tools. The zero value is ready: it finds the NATS server and the
// credentials in the environment, under the names that Parley's own programs
// read: NATS_URL, NATS_CREDS, NATS_NKEY, NATS_TOKEN, NATS_USER and NATS_PASSWORD,
// NATS_CA, NATS_CERT and NATS_KEY, and NATS_INBOX_PREFIX, each also as NAME_FILE
// for a file that holds the value. A field that is set stands over its variable.
type Server struct {
	// URL of the NATS server, or several with commas between;
	// nats://127.0.0.1:4222, where `parley up` serves, when there is none.
	URL string
	// Creds and NKey are files; CA, Cert and Key are those of TLS.
	Creds, NKey, Token, User, Password, CA, Cert, Key string
	// InboxPrefix is where a user with restricted permissions gets its answers:
	// _INBOX_tool-worker for one with those of a tool-worker.
	InboxPrefix string
	// Name of this worker among the others, in logs and in `parley tools`: letters,
	// digits, _ and -. Made from host and process when empty. A few letters are
	// added, so that no two workers ever have the same name.
	Name string
	// Slots is how many calls of each tool run at once; 16 when zero. MaxCalls is
	// how many of all tools together do; no bound when zero.
	Slots, MaxCalls int
	// Drain is how long calls that run may go on after ctx has ended; 10 s when
	// zero, not at all when negative.
	Drain time.Duration
	// Log receives what happens; slog.Default() when nil.
	Log *slog.Logger
	// Options are passed to [nats.Connect], such as [nats.InProcessServer].
	Options []nats.Option
}

// Serve serves tools on the NATS server at url, with everything else as
// [Server] has it: an empty url means NATS_URL. See [Server.Serve].
func Serve(ctx context.Context, url string, tools ...Tool) error {
	return Server{URL: url}.Serve(ctx, tools...)
}

// Serve announces tools and runs their calls until ctx ends. Then it takes no
// more calls, lets those that run end within Drain, and hands the others back for
// other workers at once, as far as their effect class allows. It returns nil
// after that. It waits for a NATS server or a deployment that is not there yet,
// and outlives their absence. A tool whose name another worker serves with another
// schema or effect class is not served until that one has gone; the log says so.
// The error says which definitions are wrong, before
// anything is served; that the server refuses the credentials; or that ctx ended
// before there was a server.
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
	for _, spec := range registry.Specs() {
		s.Log.Info("serves", "tool", spec.Name, "effect", spec.Effect, "worker", s.Name, "nats", b.URL())
	}
	w := &worker.Tool{Bus: b, Name: s.Name, Log: s.Log, Tools: registry, Slots: s.Slots, MaxCalls: s.MaxCalls, Drain: s.Drain}
	if err := w.Run(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve tools: %w", err)
	}
	return nil
}

// registry is the tools that can be served, or all that is wrong with them.
func registry(tools []Tool) (*contract.Registry, error) {
	if len(tools) == 0 {
		return nil, errors.New("serve tools: there are none: give Serve at least one")
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

// config is how to reach the NATS server: what is set here, over what the
// environment says.
func (s Server) config(environment bus.Config) bus.Config {
	return bus.Config{
		URL: s.URL, Creds: s.Creds, NKey: s.NKey, Token: s.Token, User: s.User, Password: s.Password, CA: s.CA, Cert: s.Cert, Key: s.Key,
		InboxPrefix: s.InboxPrefix, Name: "tool-worker " + s.Name, Log: s.Log, Options: s.Options,
	}.Or(environment)
}

// ownName is a name from host and process.
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
