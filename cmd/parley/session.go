package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/llmworker"
	"github.com/parleybus/parley/internal/daemon/orchestrator"
	"github.com/parleybus/parley/internal/daemon/toolworker"
	"github.com/parleybus/parley/internal/llm/catalog"
	"github.com/parleybus/parley/internal/policy"
)

// session is a client and whatever this process runs to have one.
type session struct {
	*parley.Client
	config parley.Config    // of the client
	bus    *bus.Bus         // of the roles in this process, and of the doctor; nil otherwise
	Models *catalog.Catalog // of the workers in this process; nil when they are elsewhere
	server *broker.Broker   // nil when it is elsewhere
	dir    string
	roles  chan error // the roles' end; nil when none run here
	stop   context.CancelFunc
	heir   *heir // what this process runs when the one that has the server ends
}

// where names the server for people.
func (s *session) where() string {
	if s.server != nil {
		return cmp.Or(s.server.URL(), "the embedded server")
	}
	return s.URL()
}

// Close stops what runs here, in order: roles, connection, server.
func (s *session) Close() error {
	s.stop()
	var err error
	if s.roles != nil {
		err = <-s.roles
	}
	s.Client.Close()
	if s.bus != nil {
		s.bus.Close()
	}
	if s.heir != nil {
		err = errors.Join(err, s.heir.close())
	}
	if s.server != nil {
		err = errors.Join(err, forgetServer(s.dir), s.server.Stop())
	}
	return err
}

// errNoData says that a data directory has never been used.
var errNoData = errors.New("there are no conversations")

// client connects to what is there: the server of NATS_URL, the one that runs
// on the data directory, or, to read what was left there, one of our own.
func (a *app) client(ctx context.Context) (*session, error) {
	log, err := a.logger()
	if err != nil {
		return nil, err
	}
	if s, err := a.join(ctx, log); s != nil || err != nil {
		return s, err
	}
	if _, err := os.Stat(filepath.Join(a.data, "jetstream")); err != nil {
		return nil, &parley.Error{Code: parley.CodeNoServer, Err: fmt.Errorf("%w in %s yet: ask something with `parley ask`, or set NATS_URL", errNoData, a.data)}
	}
	return a.embed(ctx, log, -1)
}

// everything connects to what is there, or runs everything in this process.
func (a *app) everything(ctx context.Context) (*session, error) {
	log, err := a.logger()
	if err != nil {
		return nil, err
	}
	if s, err := a.join(ctx, log); s != nil || err != nil {
		if s != nil && a.cfg.NATS.URL == "" {
			a.inherit(ctx, s, log)
		}
		return s, err
	}
	models, err := llmworker.Catalog(ctx, a.cfg)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	if err := a.checkRules(); err != nil {
		return nil, err
	}
	for until := time.Now().Add(startTimeout); ; {
		s, err := a.host(ctx, log, models, 0)
		if !errors.Is(err, broker.ErrInUse) || time.Now().After(until) {
			return s, err
		}
		// Another process was quicker: join it as soon as it says where it is.
		if s, err := a.join(ctx, log); s != nil {
			a.inherit(ctx, s, log)
			return s, nil
		} else if err != nil {
			log.Debug("the server that starts cannot be joined yet", "error", err)
		}
		if !pause(ctx, takeoverEvery) {
			return nil, err
		}
	}
}

// checkRules reads the file of rules before anything starts without it.
func (a *app) checkRules() error {
	if a.cfg.Rules == "" {
		return nil
	}
	if _, err := policy.Load(a.cfg.Rules); err != nil {
		return &exitError{exitUsage, err}
	}
	return nil
}

func (a *app) logger() (*slog.Logger, error) {
	log, err := a.cfg.Logger(a.logTo)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return log, nil
}

// role makes a role of this process.
func (a *app) role(name string, cfg daemon.Config, log *slog.Logger, models *catalog.Catalog) (daemon.Role, error) {
	switch name {
	case "orchestrator":
		return orchestrator.Role(cfg, log, nil, nil), nil
	case "llm-worker":
		return llmworker.Role(cfg, log, models, nil), nil
	}
	tools, servers, err := toolworker.Toolbox(cfg, log)
	if err != nil {
		return daemon.Role{}, &exitError{exitUsage, err}
	}
	return toolworker.Role(cfg, log, tools, servers, nil), nil
}

// run runs roles until the session is closed.
func (s *session) run(ctx context.Context, roles []daemon.Role) error {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	closeBus := s.stop
	s.stop = func() { stop(); closeBus() }
	started := make(chan struct{})
	s.roles = make(chan error, 1)
	go func() { s.roles <- daemon.RunRoles(ctx, s.bus, roles, func() { close(started) }) }()
	select {
	case <-started:
		return nil
	case err := <-s.roles:
		s.roles = nil
		return err
	}
}

// join connects to a server that runs already; nil when there is none.
func (a *app) join(ctx context.Context, log *slog.Logger) (*session, error) {
	cfg := parley.Config(a.cfg.NATS)
	cfg.Name, cfg.Log = "parley "+a.cfg.Name, log
	if cfg.URL == "" {
		if cfg.URL = runningServer(a.data); cfg.URL == "" {
			return nil, nil
		}
		cfg.Dial = a.dial
	}
	c, err := parley.Connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &session{Client: c, config: cfg, stop: func() {}}, nil
}

// embed starts a server on the data directory and connects to it inside the
// process. The leases of before are broken: their owners died with their server.
func (a *app) embed(ctx context.Context, log *slog.Logger, port int) (*session, error) {
	server, err := a.startServer(ctx, log, port)
	if err != nil {
		return nil, err
	}
	cfg := parley.Config(bus.Config{Name: "parley " + a.cfg.Name, Log: log}.InProcess(server.InProcess()))
	s, err := a.roleSession(ctx, cfg)
	if err == nil {
		err = s.bus.BreakLeases(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, server.Stop())
	}
	s.server, s.dir = server, a.data
	return s, nil
}

// roleSession connects for roles, which make the streams, and a client beside them.
func (a *app) roleSession(ctx context.Context, cfg parley.Config) (*session, error) {
	b, err := bus.Connect(ctx, bus.Config(cfg), &a.cfg.Plan)
	if err != nil {
		return nil, err
	}
	c, err := parley.Connect(ctx, cfg)
	if err != nil {
		b.Close()
		return nil, err
	}
	return &session{Client: c, config: cfg, bus: b, stop: func() {}}, nil
}

// startTimeout is how long another process may have the data directory without
// running a server that can be joined.
const startTimeout = 3 * time.Second

// startServer starts a server; a command that only reads the data directory,
// such as ls, is waited for.
func (a *app) startServer(ctx context.Context, log *slog.Logger, port int) (*broker.Broker, error) {
	for until := time.Now().Add(startTimeout); ; {
		s, err := broker.Start(broker.Config{Dir: a.data, Port: port, SyncAlways: a.sync == "always", Log: log})
		var path *os.PathError
		if !errors.Is(err, broker.ErrInUse) && errors.As(err, &path) {
			err = fmt.Errorf("the data directory %s cannot be used: %w: give another with --data or PARLEY_DATA", a.data, err)
		}
		if !errors.Is(err, broker.ErrInUse) || time.Now().After(until) || runningServer(a.data) != "" {
			return s, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// serverFile tells other processes where the embedded server of a data
// directory listens.
const serverFile = "server.json"

type serverInfo struct {
	URL string `json:"url"`
	PID int    `json:"pid"`
}

func rememberServer(dir, url string) error {
	raw, err := json.Marshal(serverInfo{URL: url, PID: os.Getpid()})
	if err != nil {
		return err
	}
	// Whole at any moment: others read it while it changes.
	name := filepath.Join(dir, serverFile)
	if err := os.WriteFile(name+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

func forgetServer(dir string) error {
	if err := os.Remove(filepath.Join(dir, serverFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// runningServer is the URL of the server that runs on a data directory; empty
// when there is none, also when one died and left its file behind.
func runningServer(dir string) string {
	at := serverOf(dir)
	u, err := url.Parse(at)
	if err != nil || u.Host == "" {
		return ""
	}
	conn, err := net.DialTimeout("tcp", u.Host, time.Second)
	if err != nil {
		return ""
	}
	_ = conn.Close() // it was only to see whether somebody answers
	return at
}

// serverOf is the URL that the server of a data directory left there; empty when
// there is none.
func serverOf(dir string) string {
	raw, err := os.ReadFile(filepath.Join(dir, serverFile))
	var info serverInfo
	if err != nil || json.Unmarshal(raw, &info) != nil {
		return ""
	}
	return info.URL
}

// offered is what workers offer; an error when nobody asks the provider, or,
// when it is empty, any.
func (s *session) offered(ctx context.Context, provider string) ([]parley.Offer, error) {
	offers, found, err := s.AwaitOffers(ctx, func(offers []parley.Offer) bool {
		return slices.ContainsFunc(offers, func(o parley.Offer) bool { return o.Kind == "llm" && (provider == "" || o.Name == provider) })
	})
	if err != nil || found {
		return offers, err
	}
	if err := s.Writable(ctx); err != nil {
		return nil, err
	}
	return nil, s.unserved(provider, offers)
}

// unserved says that a question would wait for a worker that is not there.
func (s *session) unserved(provider string, offers []parley.Offer) error {
	var routes []string
	for _, o := range offers {
		if o.Kind == "llm" && !slices.Contains(routes, o.Name) {
			routes = append(routes, o.Name)
		}
	}
	if len(routes) == 0 {
		return &parley.Error{Code: parley.CodeNoWorker, Err: fmt.Errorf("no llm-worker is connected to %s: start one with `NATS_URL=%s llm-worker`, or unset NATS_URL to run everything here", s.where(), s.where())}
	}
	return &exitError{exitUsage, fmt.Errorf("no worker asks %q; the workers ask %s: choose one of them with --model, or start an llm-worker that has a key for it", provider, strings.Join(routes, ", "))}
}
