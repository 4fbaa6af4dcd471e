package doctor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/catalog"
	"github.com/parleybus/parley/internal/llm/dialect"
	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/tool"
)

// mcpTimeout bounds the time of a server to list its tools.
const mcpTimeout = 8 * time.Second

// mcp starts or connects to each MCP server and lists its tools.
func (x *Examination) mcp(ctx context.Context) (says, fixed string, err error) {
	var bad, unfit []string
	tools := 0
	for _, s := range x.Servers {
		specs, omitted, err := listTools(ctx, *s)
		unfit = append(unfit, unfitFor(s.Name, specs)...)
		for _, o := range omitted {
			bad = append(bad, fmt.Sprintf("tool %q of MCP server %q is left out: %s: correct it on the server", o.Tool, s.Name, o.Reason))
		}
		if err != nil {
			advice := ": correct its entry in the file of tools, or start it"
			if strings.Contains(err.Error(), mcp.LoginCommand(s.Name)) {
				advice = ""
			}
			bad = append(bad, fmt.Sprintf("MCP server %q does not list its tools: %v%s", s.Name, err, advice))
		}
		tools += len(specs)
	}
	if len(bad) > 0 {
		return "", "", errors.New(strings.Join(bad, "; "))
	}
	says = fmt.Sprintf("%d servers list %d tools", len(x.Servers), tools)
	if len(unfit) > 0 {
		says += "; left out of requests: " + strings.Join(unfit, "; ")
	}
	return says, "", nil
}

// unfitFor names the tools of a server that a provider does not take.
func unfitFor(server string, specs []events.ToolSpec) []string {
	var all []string
	for _, provider := range catalog.Providers() {
		if rules, is := dialect.Of(provider); is {
			for _, o := range rules.Unfit(specs) {
				all = append(all, fmt.Sprintf("tool %q of MCP server %q for %s: %s", o.Tool, server, provider, o.Reason))
			}
		}
	}
	return all
}

func listTools(ctx context.Context, s mcp.Server) (specs []events.ToolSpec, omitted []events.OmittedTool, err error) {
	ctx, cancel := context.WithTimeout(ctx, mcpTimeout)
	defer cancel()
	last := &lastError{Handler: slog.DiscardHandler}
	s.Log = slog.New(last)
	listed := false
	s.Report = func(state mcp.State) {
		if listed {
			omitted = state.Omitted
		}
	}
	err = s.Run(ctx, func(tools ...tool.Tool) error {
		listed = true
		for _, t := range tools {
			specs = append(specs, t.Spec())
		}
		cancel()
		return nil
	})
	switch {
	case err != nil:
		return nil, nil, err
	case listed:
		return specs, omitted, nil
	}
	last.mu.Lock()
	defer last.mu.Unlock()
	if last.err != "" {
		return nil, nil, errors.New(last.err)
	}
	return nil, nil, fmt.Errorf("no answer within %s", mcpTimeout)
}

// lastError keeps the error of the last log record: the server is retried if it
// cannot be reached, and only the log has the reason.
type lastError struct {
	slog.Handler
	mu  sync.Mutex
	err string
}

// Enabled implements [slog.Handler].
func (l *lastError) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// WithAttrs implements [slog.Handler].
func (l *lastError) WithAttrs([]slog.Attr) slog.Handler { return l }

// Handle implements [slog.Handler].
func (l *lastError) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "error" {
			l.mu.Lock()
			l.err = a.Value.String()
			l.mu.Unlock()
		}
		return true
	})
	return nil
}
