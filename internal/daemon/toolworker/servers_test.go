package toolworker

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/offer"
	"github.com/parleybus/parley/internal/secret"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/topology"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"))
}

func connected(t *testing.T) *bus.Bus {
	t.Helper()
	server, err := broker.Start(broker.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	b, err := bus.Connect(t.Context(), bus.Config{URL: server.URL()}, &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// serving returns an MCP server with tools of these names.
func serving(t *testing.T, server string, names ...string) *mcp.Server {
	t.Helper()
	own := sdk.NewServer(&sdk.Implementation{Name: server}, nil)
	for _, name := range names {
		own.AddTool(&sdk.Tool{Name: name, InputSchema: map[string]any{"type": "object"}}, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: server}}}, nil
		})
	}
	return at(t, server, sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return own }, &sdk.StreamableHTTPOptions{Stateless: true}))
}

func at(t *testing.T, name string, h http.Handler) *mcp.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return &mcp.Server{Name: name, URL: s.URL, Log: slog.New(slog.DiscardHandler)}
}

// boxed runs servers until the test ends, and returns the tools after the wait.
func boxed(t *testing.T, b *bus.Bus, all ...*mcp.Server) (*tool.Registry, *servers) {
	t.Helper()
	registry, err := tool.Builtins(tool.Config{})
	if err != nil {
		t.Fatal(err)
	}
	box := newServers(b, registry, all, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	wait := box.serve(ctx, 20*time.Second)
	t.Cleanup(func() {
		stop()
		if err := wait(); err != nil {
			t.Error(err)
		}
	})
	return registry, box
}

func names(registry *tool.Registry) string {
	var all []string
	for _, s := range registry.Specs() {
		if s.Server != "" {
			all = append(all, s.Name)
		}
	}
	return strings.Join(all, " ")
}

func TestTwoServersWithOneNameKeepTheirNamesOverRestarts(t *testing.T) {
	b := connected(t)
	one, two := serving(t, "one", "search", "now"), serving(t, "two", "search", "post")
	first, box := boxed(t, b, one, two)
	if got, want := names(first), "one_now one_search post two_search"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	var said []string
	for _, state := range box.missing() {
		said = append(said, state.Lines()...)
	}
	want := []string{
		"MCP server one: offers now as one_now, search as one_search, because another server or the worker has a tool of that name",
		"MCP server two: offers search as two_search, because another server or the worker has a tool of that name",
	}
	if !slices.Equal(said, want) {
		t.Errorf("it is said that %q, want %q", said, want)
	}
	for _, s := range first.Specs() { // as the orchestrator keeps what workers offer
		if _, err := b.Presence().KeepTool(t.Context(), offer.Known{Tool: s, SeenMS: time.Now().UnixMilli()}, 0); err != nil {
			t.Fatal(err)
		}
	}
	away := at(t, "one", http.NotFoundHandler())
	second, box := boxed(t, b, two, away)
	if got, want := names(second), "post two_search"; got != want {
		t.Errorf("without the other server: got %q, want %q", got, want)
	}
	if missing := box.missing(); len(missing) != 2 || missing[0].Name != "one" || missing[0].Missing == "" || missing[1].Missing != "" {
		t.Errorf("missing %+v", missing)
	}
}

func TestAServerThatRefusesAccessIsNotWaitedForAndIsNamed(t *testing.T) {
	b := connected(t)
	refuses := at(t, "locked", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "the key has expired", http.StatusForbidden)
	}))
	registry, box := boxed(t, b, refuses, serving(t, "open", "post"))
	if got := names(registry); got != "post" {
		t.Errorf("got %q", got)
	}
	missing := box.missing()
	if len(missing) != 1 || !slices.ContainsFunc(missing[0].Lines(), func(line string) bool {
		return strings.HasPrefix(line, "MCP server locked: its tools are missing") && strings.Contains(line, "the key has expired")
	}) {
		t.Errorf("missing %+v", missing)
	}
}

func TestAStartWaitsForServersAsLongAsConfigured(t *testing.T) {
	b := connected(t)
	release := make(chan struct{})
	slow := at(t, "slow", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer close(release)
	registry, err := tool.New()
	if err != nil {
		t.Fatal(err)
	}
	box := newServers(b, registry, []*mcp.Server{slow}, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	wait := box.serve(ctx, time.Millisecond)
	defer func() {
		stop()
		if err := wait(); err != nil {
			t.Error(err)
		}
	}()
	if missing := box.missing(); len(missing) != 1 || !strings.Contains(missing[0].Missing, "starting") {
		t.Errorf("missing %+v", missing)
	}
}

func TestManyProblemsFitIntoOneRecord(t *testing.T) {
	box := newServers(nil, nil, nil, nil)
	box.renamed = map[string][]offer.RenamedTool{}
	long := events.OmittedTool{Tool: strings.Repeat("n", 203), Reason: strings.Repeat("r", 500)}
	for i := range 100 {
		s := &mcp.Server{Name: strings.Repeat("s", 1+i)}
		box.all = append(box.all, s)
		box.tried[s.Name] = true
		box.renamed[s.Name] = slices.Repeat([]offer.RenamedTool{{Tool: long.Tool[:64], As: long.Tool[:64]}}, mostRenamed)
		box.states[s.Name] = bus.ServerState{Name: s.Name, Missing: strings.Repeat("m", maxReason), Omitted: slices.Repeat([]events.OmittedTool{long}, mostOmitted)}
	}
	if _, err := (offer.Offer{Kind: offer.Tool, Name: "read_result", Worker: "w", Tool: &events.ToolSpec{Name: "read_result"}, Servers: box.missing()}).Encode(); err != nil {
		t.Error(err)
	}
}

// eventually waits for the tools of servers to be as named.
func eventually(t *testing.T, registry *tool.Registry, want string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		changed := registry.Changed()
		if names(registry) == want {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%q is not served; there are %q", want, names(registry))
		}
	}
}

func TestTheFileOfToolsIsReadAgainWholeOrNotAtAll(t *testing.T) {
	b := connected(t)
	one, two := serving(t, "one", "a"), serving(t, "two", "b")
	path := filepath.Join(t.TempDir(), "tools.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	entry := func(s *mcp.Server) string { return "  - {name: " + s.Name + ", url: '" + s.URL + "'}\n" }
	cfg := daemon.Config{ToolsFile: path, ToolsOptional: true, Secrets: &secret.Set{}}
	said := make(chan string, 100)
	log := slog.New(slog.NewTextHandler(sayer(said), nil))
	registry, all, err := Toolbox(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	box := newServers(b, registry, all, log)
	box.follow = box.following(cfg)
	ctx, stop := context.WithCancel(t.Context())
	wait := box.serve(ctx, 0)
	defer func() {
		stop()
		if err := wait(); err != nil {
			t.Error(err)
		}
	}()
	write("mcp:\n" + entry(one))
	eventually(t, registry, "a")
	write("mcp:\n" + entry(one) + entry(two) + "tools:\n  - {name: mine, description: d, exec: {command: ['true']}}\n")
	eventually(t, registry, "a b")
	if _, served := registry.Lookup("mine"); !served {
		t.Error("the tool of the file is not served")
	}
	write("mcp:\n" + entry(two) + "  - {name: broken}\n")
	for line := range said {
		if strings.Contains(line, "cannot be used") && strings.Contains(line, "broken") {
			break
		}
	}
	if got := names(registry); got != "a b" {
		t.Errorf("a file with a fault changed the tools: %q", got)
	}
	write("mcp:\n" + entry(two) + "tools:\n  - {name: b, description: d, exec: {command: ['true']}}\n")
	eventually(t, registry, "two_b")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	eventually(t, registry, "")
}

// sayer sends lines of a log.
type sayer chan string

func (s sayer) Write(p []byte) (int, error) {
	s <- string(p)
	return len(p), nil
}
