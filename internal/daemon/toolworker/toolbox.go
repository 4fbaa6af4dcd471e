package toolworker

import (
	"log/slog"

	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/manifest"
)

// Toolbox opens the configured tools: the built-in ones and those of the file.
// The worker runs the MCP servers; their tools are added when they list them.
func Toolbox(cfg daemon.Config, log *slog.Logger) (*tool.Registry, []*mcp.Server, error) {
	tools, err := tool.Builtins(tool.Config{AllowHosts: cfg.AllowHosts, Root: cfg.Root})
	if err != nil || cfg.ToolsFile == "" {
		return tools, nil, err
	}
	m, err := manifest.Load(cfg.ToolsFile, cfg.LookupEnv)
	if err != nil {
		return nil, nil, err
	}
	for _, value := range m.Secrets {
		cfg.Secrets.AddHeader(value)
	}
	if err := tools.Set("file", m.Tools()...); err != nil {
		return nil, nil, err
	}
	var servers []*mcp.Server
	for _, s := range m.MCP {
		servers = append(servers, &mcp.Server{Name: s.Name, Command: s.Command, Dir: s.Dir, Env: s.Env, URL: s.URL, Header: s.Headers, Prefix: s.Prefix,
			Startup: s.StartTimeout, Timeout: s.Timeout, Log: log})
	}
	return tools, servers, nil
}
