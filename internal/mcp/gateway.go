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
	// maxRequest bounds a client's request, in bytes: it allows arguments of
	// several megabytes.
	maxRequest = 16 << 20
	// idleSession is the time without requests after which an HTTP session
	// ends.
	idleSession = time.Hour
	// stateless is the first protocol version without sessions.
	stateless = "2026-07-28"
)

// Gateway serves tools to MCP clients. Set its fields before its first use.
type Gateway struct {
	// Tools are the tools that clients see, and may call.
	Tools *Toolset
	// Call runs one call until it ends or ctx ends, and reports its progress.
	// An error means that the call could not run; the outcome of a run is the
	// result's status.
	Call func(ctx context.Context, spec events.ToolSpec, arguments json.RawMessage, progress func(text string)) (*events.ToolResult, error)
	// Fetch returns the bytes of an object; without it clients get only links.
	Fetch func(ctx context.Context, o *events.Object) ([]byte, error)
	Log   *slog.Logger

	once   sync.Once
	log    *slog.Logger
	server *sdk.Server
	mu     sync.Mutex
	shown  map[string]events.ToolSpec
}

// start creates the server with the current tools.
func (g *Gateway) start() *sdk.Server {
	g.once.Do(func() {
		g.log = g.Log
		if g.log == nil {
			g.log = slog.New(slog.DiscardHandler)
		}
		g.server = sdk.NewServer(&sdk.Implementation{Name: "parley", Version: "1"}, &sdk.ServerOptions{
			// The SDK logs each step of each session at level info.
			Logger:       slog.New(atWarn{g.log.Handler()}),
			Capabilities: &sdk.ServerCapabilities{Tools: &sdk.ToolCapabilities{ListChanged: true}},
		})
		g.shown = map[string]events.ToolSpec{}
		g.sync()
	})
	return g.server
}

// Run follows changes of the tools until ctx ends, then closes the sessions of
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
	for {
		changed := g.sync()
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// ServeStdio serves one client until it closes in or ctx ends, and follows
// changes of the tools. It writes only messages to out. At the end it closes in
// and out if they can be closed.
func (g *Gateway) ServeStdio(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	following.Go(func() { g.follow(ctx) })
	err := g.start().Run(ctx, &sdk.IOTransport{Reader: readCloser(in), Writer: writeCloser(out), MaxLineLength: maxRequest})
	stopped := ctx.Err() != nil
	cancel()
	following.Wait()
	if stopped || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.EPIPE) {
		return nil // a disconnected client is not an error
	}
	return err
}

// Handler serves clients over streamable HTTP while [Gateway.Run] runs. It
// refuses requests from web pages of another origin; the caller has to
// authenticate clients.
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

// sync sets the server's tools to the current ones, and returns a channel that is
// closed when those change.
func (g *Gateway) sync() (changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	specs, changed := g.Tools.now()
	now := map[string]events.ToolSpec{}
	for _, spec := range specs {
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
	return changed
}

// add adds a tool. Its specification may come from any worker, and the SDK
// panics on a schema that it does not accept.
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

// objectSchema returns a schema as clients require it: with the type object.
func objectSchema(raw json.RawMessage) (map[string]json.RawMessage, error) {
	schema := map[string]json.RawMessage{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &schema); err != nil {
			return nil, fmt.Errorf("its schema is not a JSON object: %w", err)
		}
	}
	if schema == nil { // the schema was null
		schema = map[string]json.RawMessage{}
	}
	if schema["type"] == nil {
		schema["type"] = json.RawMessage(`"object"`)
	}
	return schema, nil
}

// atWarn drops records below level warn.
type atWarn struct{ slog.Handler }

// Enabled implements [slog.Handler].
func (h atWarn) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

// open adds a Close that does nothing to a stream without one.
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
