package toolworker

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/mcp/oauth"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/manifest"
)

// Toolbox opens the configured tools: the built-in ones and those of the file.
// The worker runs the MCP servers; their tools are added when they list them.
func Toolbox(cfg daemon.Config, log *slog.Logger) (*tool.Registry, []*mcp.Server, error) {
	tools, err := tool.Builtins(tool.Config{AllowHosts: cfg.AllowHosts, Root: cfg.Root})
	if err != nil {
		return tools, nil, err
	}
	own, servers, err := readFile(cfg, log)
	if err != nil {
		return nil, nil, err
	}
	return tools, servers, tools.Set("file", own...)
}

// Servers returns the MCP servers of the file of tools.
func Servers(cfg daemon.Config, log *slog.Logger) ([]*mcp.Server, error) {
	_, servers, err := readFile(cfg, log)
	return servers, err
}

// readFile reads the file of tools. There is none if it is not configured, or if
// the one in the data directory does not exist.
func readFile(cfg daemon.Config, log *slog.Logger) ([]tool.Tool, []*mcp.Server, error) {
	if cfg.ToolsFile == "" {
		return nil, nil, nil
	}
	m, err := manifest.Load(cfg.ToolsFile, cfg.LookupEnv)
	if cfg.ToolsOptional && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, value := range m.Secrets {
		cfg.Secrets.AddHeader(value)
	}
	var servers []*mcp.Server
	for _, s := range m.MCP {
		servers = append(servers, &mcp.Server{Name: s.Name, Command: s.Command, Dir: s.Dir, Env: s.Env, URL: s.URL, Header: s.Headers, Prefix: s.Prefix,
			Logins: cfg.Logins, OAuth: oauth.Client{ID: s.ClientID, Secret: s.ClientSecret, Scopes: s.Scopes}, Learn: cfg.Secrets.Add,
			Startup: s.StartTimeout, Timeout: s.Timeout, Log: log})
	}
	return m.Tools(), servers, nil
}

// following returns what reads the file again when it changes, whole or not at
// all: of a file with an error nothing is taken, and the tools stay as they were.
func (s *servers) following(cfg daemon.Config) func(context.Context, *errgroup.Group) {
	if cfg.ToolsFile == "" {
		return nil
	}
	file := daemon.NewFollowedFile(cfg.ToolsFile)
	return func(ctx context.Context, g *errgroup.Group) {
		file.Follow(ctx, daemon.FollowInterval, func() {
			own, servers, err := readFile(cfg, s.log)
			if err == nil {
				err = s.replace(ctx, g, own, servers)
			}
			if err != nil {
				s.log.Error("the file of tools has changed and cannot be used; the tools stay as they were", "file", cfg.ToolsFile, "error", err)
				return
			}
			s.log.Info("the file of tools was read again", "file", cfg.ToolsFile, "tools", len(own), "servers", len(servers))
		})
	}
}
