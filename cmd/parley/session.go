package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/host"
)

// host returns what this process does on its data directory.
func (a *app) host() (*host.Host, error) {
	log, err := a.logger()
	if err != nil {
		return nil, err
	}
	return &host.Host{Dir: a.data, Config: a.cfg, Connection: "parley " + a.cfg.Name, SyncAlways: a.sync == "always", Log: log}, nil
}

func (a *app) logger() (*slog.Logger, error) {
	log, err := a.cfg.Logger(a.logTo)
	if err != nil {
		return nil, usage(err)
	}
	return log, nil
}

// client connects to what runs, or, to read what is stored, to a server of its own.
func (a *app) client(ctx context.Context) (*host.Session, error) {
	h, err := a.host()
	if err != nil {
		return nil, err
	}
	return h.Connect(ctx)
}

// deciding connects to what runs, or runs everything in this process: an orchestrator
// has to decide what follows. Without a deployment there is nothing to decide on.
func (a *app) deciding(ctx context.Context) (*host.Session, error) {
	h, err := a.host()
	if err != nil {
		return nil, err
	}
	if h.Empty() {
		return nil, &parley.Error{Code: parley.CodeNoServer, Err: fmt.Errorf("%w in %s", host.ErrNoData, h.Dir)}
	}
	return h.JoinOrServe(ctx)
}

// everything connects to what runs, or runs everything in this process.
func (a *app) everything(ctx context.Context) (*host.Session, error) {
	h, err := a.host()
	if err != nil {
		return nil, err
	}
	return h.JoinOrServe(ctx)
}
