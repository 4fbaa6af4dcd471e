// Package host is what a process does on a data directory: it joins the server
// that runs there, or runs one itself, with or without the roles. When the process
// with the server ends, one of those that joined it takes over.
package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/llm/catalog"
)

// ErrNoData is returned by [Host.Connect] for a data directory that was never used.
var ErrNoData = errors.New("there are no conversations")

// Host is one process on a data directory. All fields but SyncAlways are required.
type Host struct {
	// Dir is the data directory of the embedded server. It is not used when
	// Config.NATS.URL names a server.
	Dir string
	// Config is that of the connections and of the roles, as [daemon.Defaults] begins it.
	Config daemon.Config
	// Connection is the name of connections, as the server shows it.
	Connection string
	// SyncAlways makes the embedded server write each message to disk before it
	// acknowledges it.
	SyncAlways bool
	Log        *slog.Logger
}

// Session is a client, and the server and the roles that run in this process for
// it, if any.
type Session struct {
	*parley.Client
	// Models are those of the workers in this process; nil when there are none.
	Models *catalog.Catalog

	config    parley.Config  // of the client
	bus       *bus.Bus       // of the roles; nil for a client only
	server    *broker.Broker // nil when it is elsewhere
	dir       string         // of the server
	roles     chan error     // receives the end of the roles; nil when none run here
	stop      context.CancelFunc
	successor *successor // takes over when the process with the server ends; may be nil
}

// Embedded reports whether the server runs in this process, so that nothing else
// uses the data directory.
func (s *Session) Embedded() bool { return s.server != nil }

// RunsRoles reports whether the roles run in this process.
func (s *Session) RunsRoles() bool { return s.roles != nil }

// Server names the server for people: its URL, if it has one.
func (s *Session) Server() string {
	if s.server != nil {
		return cmp.Or(s.server.Address(), "the embedded server")
	}
	return s.URL()
}

// Address is the URL of the server in this process for others, with its token; empty
// when it listens nowhere. [Session.Embedded] must hold.
func (s *Session) Address() string { return s.server.URL() }

// Options connect other parts of this process to its server without a socket.
// [Session.Embedded] must hold.
func (s *Session) Options() []nats.Option { return []nats.Option{s.server.InProcess()} }

// Bus returns the connection of the roles, and connects one if there is none. It is
// closed with the session.
func (s *Session) Bus(ctx context.Context) (*bus.Bus, error) {
	if s.bus == nil {
		b, err := bus.Connect(ctx, bus.Config(s.config), nil)
		if err != nil {
			return nil, err
		}
		s.bus = b
	}
	return s.bus, nil
}

// Close stops what runs here, in order: roles, connections, server.
func (s *Session) Close() error {
	s.stop()
	var err error
	if s.roles != nil {
		err = <-s.roles
	}
	s.Client.Close()
	if s.bus != nil {
		s.bus.Close()
	}
	if s.successor != nil {
		err = errors.Join(err, s.successor.close())
	}
	if s.server != nil {
		err = errors.Join(err, removeAddress(s.dir), s.server.Stop())
	}
	return err
}

// Empty reports whether the data directory was never used and no server is named.
func (h *Host) Empty() bool {
	if h.Config.NATS.URL != "" {
		return false
	}
	_, err := os.Stat(filepath.Join(h.Dir, "jetstream"))
	return err != nil
}

// Join connects to the server that is named, or to the one that runs on the data
// directory; it returns nil when there is none.
func (h *Host) Join(ctx context.Context) (*Session, error) {
	cfg := h.connection()
	if cfg.URL == "" {
		return nil, nil
	}
	c, err := parley.Connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Session{Client: c, config: cfg, stop: func() {}}, nil
}

// connection says how to connect; its URL is empty when no server is named and
// none runs on the data directory.
func (h *Host) connection() parley.Config {
	cfg := parley.Config(h.Config.NATS)
	cfg.Name, cfg.Log, cfg.Version = h.Connection, h.Log, daemon.Version
	if cfg.URL == "" {
		l := &link{dir: h.Dir, learn: func(token string) { h.Config.Secrets.Add(token) }}
		cfg.URL, cfg.Dial, cfg.Options = Running(h.Dir), l.dial, append(slices.Clone(cfg.Options), l.option)
	}
	return cfg
}

// URL returns the URL of the server that runs on the data directory, with its token,
// for other clients. It fails with [parley.CodeNoServer].
func (h *Host) URL() (string, error) {
	a, err := running(h.Dir)
	if err != nil {
		h.Log.Debug("the server of the data directory cannot be used", "data", h.Dir, "error", err)
		return "", &parley.Error{Code: parley.CodeNoServer, Err: fmt.Errorf("no server runs on %s: start one with `parley up`", h.Dir)}
	}
	h.Config.Secrets.Add(a.Token)
	return broker.WithToken(a.URL, a.Token), nil
}

// Connect joins the server, or runs one without roles to read what is stored in the
// data directory. It fails with [ErrNoData] when nothing is.
func (h *Host) Connect(ctx context.Context) (*Session, error) {
	if s, err := h.Join(ctx); s != nil || err != nil {
		return s, err
	}
	if h.Empty() {
		return nil, &parley.Error{Code: parley.CodeNoServer, Err: fmt.Errorf("%w in %s yet: ask something with `parley ask`, or set NATS_URL", ErrNoData, h.Dir)}
	}
	return h.Embed(ctx, -1)
}

// JoinOrServe joins the server, or runs one with all roles. A session that joined
// the server of a data directory takes it over when the other process ends.
func (h *Host) JoinOrServe(ctx context.Context) (*Session, error) {
	if s, err := h.Join(ctx); s != nil || err != nil {
		if s != nil && h.Config.NATS.URL == "" {
			h.succeed(ctx, s)
		}
		return s, err
	}
	for until := time.Now().Add(startTimeout); ; {
		s, err := h.serve(ctx, 0)
		if !errors.Is(err, broker.ErrInUse) || time.Now().After(until) {
			return s, err
		}
		// Another process was quicker: join it as soon as it can be reached.
		if s, err := h.Join(ctx); s != nil {
			h.succeed(ctx, s)
			return s, nil
		} else if err != nil {
			h.Log.Debug("the server that starts cannot be joined yet", "error", err)
		}
		if !bus.Pause(ctx, takeoverEvery) {
			return nil, err
		}
	}
}

// JoinForRoles connects to the server like [Host.Join], creates the streams that are
// missing, and is ready to run roles. It fails with [parley.CodeNoServer].
func (h *Host) JoinForRoles(ctx context.Context) (*Session, error) {
	cfg := h.connection()
	if cfg.URL == "" {
		return nil, &parley.Error{Code: parley.CodeNoServer, Err: fmt.Errorf("no server runs on %s: start one with `parley up --only broker`, or set NATS_URL", h.Dir)}
	}
	s, err := h.roleSession(ctx, cfg)
	if err != nil {
		return nil, &parley.Error{Code: parley.CodeNoServer, Err: err}
	}
	return s, nil
}

// roleSession connects for roles, which create the streams, and a client beside them.
func (h *Host) roleSession(ctx context.Context, cfg parley.Config) (*Session, error) {
	b, err := bus.Connect(ctx, bus.Config(cfg), &h.Config.Plan)
	if err != nil {
		return nil, err
	}
	c, err := parley.Connect(ctx, cfg)
	if err != nil {
		b.Close()
		return nil, err
	}
	return &Session{Client: c, config: cfg, bus: b, stop: func() {}}, nil
}
