package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"sync"
	"syscall"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/parleybus/parley/internal/events"
)

const (
	// maxRequest is the longest request of a client, in bytes: arguments of
	// several megabytes pass.
	maxRequest = 16 << 20
	// idleSession is how long an HTTP session may be silent before it ends.
	idleSession = time.Hour
	// stateless is the first protocol version that knows no sessions.
	stateless = "2026-07-28"
)

// Gateway offers tools to MCP clients. Its fields are set before its first use.
type Gateway struct {
	// Tools is what there is now.
	Tools func() []events.ToolSpec
	// Changed is closed when Tools has changed next; nil means never.
	Changed func() <-chan struct{}
	// Call runs one call until it is done or ctx is, and shows its progress. An
	// error means that it could not be run; how a run ended is the result's status.
	Call func(ctx context.Context, name string, arguments json.RawMessage, progress func(text string)) (*events.ToolResult, error)
	// Fetch gets the bytes of an object; without it clients see links only.
	Fetch func(ctx context.Context, o *events.Object) ([]byte, error)
	Log   *slog.Logger

	once   sync.Once
	log    *slog.Logger
	server *sdk.Server
	mu     sync.Mutex
	shown  map[string]events.ToolSpec
}

// start makes the server, with the tools there are.
func (g *Gateway) start() *sdk.Server {
	g.once.Do(func() {
		g.log = g.Log
		if g.log == nil {
			g.log = slog.New(slog.DiscardHandler)
		}
		g.server = sdk.NewServer(&sdk.Implementation{Name: "parley", Version: "1"}, &sdk.ServerOptions{
			// The SDK tells each step of each session at level info.
			Logger:       slog.New(atWarn{g.log.Handler()}),
			Capabilities: &sdk.ServerCapabilities{Tools: &sdk.ToolCapabilities{ListChanged: true}},
		})
		g.shown = map[string]events.ToolSpec{}
		g.sync()
	})
	return g.server
}

// Run follows changes of the tools until ctx ends, and then ends the sessions of
// all clients.
func (g *Gateway) Run(ctx context.Context) error {
	g.follow(ctx)
	var errs []error
	for s := range g.start().Sessions() {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

func (g *Gateway) follow(ctx context.Context) {
	g.start()
	var changed <-chan struct{}
	for {
		if g.Changed != nil {
			changed = g.Changed()
		}
		g.sync()
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// ServeStdio serves one client until it closes in or ctx ends, and follows
// changes of the tools meanwhile. Only messages are written to out. Where in or
// out can be closed, they are in the end.
func (g *Gateway) ServeStdio(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	following.Go(func() { g.follow(ctx) })
	err := g.start().Run(ctx, &sdk.IOTransport{Reader: readCloser(in), Writer: writeCloser(out), MaxLineLength: maxRequest})
	stopped := ctx.Err() != nil
	cancel()
	following.Wait()
	if stopped || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.EPIPE) {
		return nil // a client that is gone is no fault
	}
	return err
}

// Handler serves clients over streamable HTTP, while [Gateway.Run] runs. It refuses requests that a web
// page of another origin makes; who may ask is for others to check.
func (g *Gateway) Handler() http.Handler {
	server := func(*http.Request) *sdk.Server { return g.start() }
	options := sdk.StreamableHTTPOptions{MaxRequestBodyBytes: maxRequest, SessionTimeout: idleSession, PropagateRequestCancellation: true}
	sessions := sdk.NewStreamableHTTPHandler(server, &options)
	options.Stateless = true
	single := sdk.NewStreamableHTTPHandler(server, &options)
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The SDK's handler speaks either with sessions or without.
		if r.Header.Get("MCP-Protocol-Version") >= stateless {
			single.ServeHTTP(w, r)
			return
		}
		sessions.ServeHTTP(w, r)
	}))
}

// sync makes the server's tools what there is now.
func (g *Gateway) sync() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := map[string]events.ToolSpec{}
	for _, spec := range g.Tools() {
		now[spec.Name] = spec
		if old, known := g.shown[spec.Name]; known && reflect.DeepEqual(old, spec) {
			continue
		}
		if err := g.add(spec); err != nil {
			g.log.Warn("a tool cannot be offered to MCP clients and is left out", "tool", spec.Name, "error", err)
			g.server.RemoveTools(spec.Name)
		}
	}
	for name := range g.shown {
		if _, stays := now[name]; !stays {
			g.server.RemoveTools(name)
		}
	}
	g.shown = now
}

// add offers a tool. What a tool says about itself comes from any worker, and
// the SDK panics at a schema that it does not take.
func (g *Gateway) add(spec events.ToolSpec) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	input, err := objectSchema(spec.Schema)
	if err != nil {
		return err
	}
	t := &sdk.Tool{Name: spec.Name, Description: spec.Description, InputSchema: input,
		Annotations: &sdk.ToolAnnotations{ReadOnlyHint: spec.Effect == events.EffectPure, IdempotentHint: spec.Effect != events.EffectOnce && spec.Effect != ""}}
	if len(spec.Output) > 0 {
		t.OutputSchema = spec.Output
	}
	g.server.AddTool(t, g.handle)
	return nil
}

// objectSchema is a schema as clients want it: an object that says so.
func objectSchema(raw json.RawMessage) (map[string]json.RawMessage, error) {
	schema := map[string]json.RawMessage{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &schema); err != nil {
			return nil, fmt.Errorf("its schema is no JSON object: %w", err)
		}
	}
	if schema == nil { // it was null
		schema = map[string]json.RawMessage{}
	}
	if schema["type"] == nil {
		schema["type"] = json.RawMessage(`"object"`)
	}
	return schema, nil
}

// atWarn leaves out what is below a warning.
type atWarn struct{ slog.Handler }

// Enabled implements [slog.Handler].
func (h atWarn) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

// open gives a stream that cannot be closed a Close that does nothing.
type open struct {
	io.Reader
	io.Writer
}

// Close implements [io.Closer].
func (open) Close() error { return nil }

func readCloser(r io.Reader) io.ReadCloser {
	if c, ok := r.(io.ReadCloser); ok {
		return c
	}
	return open{Reader: r}
}

func writeCloser(w io.Writer) io.WriteCloser {
	if c, ok := w.(io.WriteCloser); ok {
		return c
	}
	return open{Writer: w}
}
