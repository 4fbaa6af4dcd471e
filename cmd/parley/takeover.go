package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/llmworker"
	"github.com/parleybus/parley/internal/llm/catalog"
)

// takeoverEvery is how often a process looks whether the server of its data
// directory is gone.
const takeoverEvery = 100 * time.Millisecond

// heir takes the place of the process that runs the server of a data directory
// when that process ends: it starts the server on the same data, and the roles.
// The connections of all others follow (see [app.dial]).
type heir struct {
	app  *app
	log  *slog.Logger
	done sync.WaitGroup
	stop context.CancelFunc
	own  *session // the server and the roles; nil while another process has them
}

// inherit makes a session that joined a server its heir.
func (a *app) inherit(ctx context.Context, s *session, log *slog.Logger) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	h := &heir{app: a, log: log, stop: stop}
	s.heir = h
	port := 0
	if u, err := url.Parse(s.URL()); err == nil {
		port, _ = strconv.Atoi(u.Port()) // 0 picks a free one
	}
	h.done.Go(func() { h.run(ctx, s, port) })
}

func (h *heir) run(ctx context.Context, s *session, port int) {
	tick := time.NewTicker(takeoverEvery)
	defer tick.Stop()
	for logged := ""; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.Connected() || runningServer(h.app.data) != "" {
			continue
		}
		own, err := h.take(ctx, port)
		if err == nil {
			h.own = own
			h.log.Warn("the process that ran the server has ended: this one runs it now", "server", own.where())
			return
		}
		if !errors.Is(err, broker.ErrInUse) && err.Error() != logged && ctx.Err() == nil {
			logged = err.Error()
			h.log.Warn("the server cannot be started here, trying again", "data", h.app.data, "error", err)
		}
	}
}

// take starts the server, on the port of before if it is free.
func (h *heir) take(ctx context.Context, port int) (*session, error) {
	models, err := llmworker.Catalog(ctx, h.app.cfg)
	if err != nil {
		return nil, err
	}
	own, err := h.app.host(ctx, h.log, models, port)
	if err != nil && port != 0 && !errors.Is(err, broker.ErrInUse) {
		own, err = h.app.host(ctx, h.log, models, 0)
	}
	return own, err
}

// close ends what was taken over.
func (h *heir) close() error {
	h.stop()
	h.done.Wait()
	if h.own == nil {
		return nil
	}
	return h.own.Close()
}

// host runs the server of the data directory and all roles in this process, where
// others find it.
func (a *app) host(ctx context.Context, log *slog.Logger, models *catalog.Catalog, port int) (*session, error) {
	s, err := a.embed(ctx, log, port)
	if err != nil {
		return nil, err
	}
	s.Models = models
	if err := rememberServer(a.data, s.server.URL()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	roles := []daemon.Role{daemon.Keeper(nil)}
	// Those that announce something come first, so that the orchestrator knows
	// them when it begins.
	for _, name := range []string{"tool-worker", "llm-worker", "orchestrator"} {
		r, err := a.role(name, a.cfg, log, models)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		roles = append(roles, r)
	}
	if err := s.run(ctx, roles); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// dial connects to the server that runs on the data directory now: its address
// changes when another process takes over.
func (a *app) dial(network, address string) (net.Conn, error) {
	if u, err := url.Parse(serverOf(a.data)); err == nil && u.Host != "" {
		address = u.Host
	}
	return net.DialTimeout(network, address, 2*time.Second)
}
