package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/tooltest"
)

// bus is what a gateway offers in these tests.
type bus struct {
	specs     []events.ToolSpec
	tools     mcp.Toolset
	log       lines
	cancelled chan error
}

func newBus() *bus {
	b := &bus{cancelled: make(chan error, 1), specs: []events.ToolSpec{
		{Name: "echo", Description: "Says it again", Schema: json.RawMessage(`{"type":"object","properties":{"text":{"type":"string"}}}`), Effect: events.EffectPure},
		{Name: "plain"},
		{Name: "set", Effect: events.EffectIdempotent, Output: json.RawMessage(`{"type":"object"}`)},
		{Name: "files"}, {Name: "late"}, {Name: "refused"}, {Name: "away"}, {Name: "wait", Effect: events.EffectPure},
		{Name: "array", Schema: json.RawMessage(`{"type":"array"}`)},
		{Name: "broken", Schema: json.RawMessage(`{"type":`)},
		{Name: "header", Schema: json.RawMessage(`{"type":"object","properties":{"a":{"type":"object","x-mcp-header":"A"}}}`)},
		{Name: "null", Schema: json.RawMessage(`null`)},
	}}
	b.tools.Set(b.specs)
	return b
}

func (b *bus) gateway() *mcp.Gateway {
	return &mcp.Gateway{Log: slog.New(slog.NewTextHandler(&b.log, nil)), Call: b.call, Tools: &b.tools,
		Fetch: func(_ context.Context, o *events.Object) ([]byte, error) {
			if o.Name == "lost" {
				return nil, errors.New("no such object")
			}
			return []byte("bytes of " + o.Name), nil
		}}
}

func (b *bus) add(spec events.ToolSpec) {
	b.specs = append(b.specs, spec)
	b.tools.Set(b.specs)
}

func (b *bus) call(ctx context.Context, spec events.ToolSpec, args json.RawMessage, progress func(string)) (*events.ToolResult, error) {
	object := func(name string, size int64) *events.Object {
		return &events.Object{Bucket: "b", Name: name, Size: size}
	}
	switch spec.Name {
	case "set":
		return &events.ToolResult{Status: events.StatusOK, Content: "{}", Structured: json.RawMessage(`{"id":9007199254740993}`)}, nil
	case "files":
		return &events.ToolResult{Status: events.StatusOK, Content: "prev", Object: object("whole", 14), Attachments: []events.Attachment{
			{MIME: "image/png", Object: object("picture", 1)}, {MIME: "audio/wav", Object: object("sound", 1)},
			{Name: "file:///a.txt", MIME: "text/plain", Object: object("text", 1)}, {Name: "data", Object: object("data", 1)},
			{Name: "huge", MIME: "image/png", Object: object("huge", 1<<30)}, {Name: "gone", Object: object("lost", 1)}, {Name: "empty"}}}, nil
	case "refused":
		return &events.ToolResult{Status: events.StatusRefused, Content: "a person said no"}, nil
	case "away":
		return nil, errors.New("the bus is away")
	case "late":
		progress("before")
		go progress("perhaps after")
	case "wait":
		progress("waiting\xff")
		<-ctx.Done()
		b.cancelled <- ctx.Err()
		return nil, ctx.Err()
	}
	return &events.ToolResult{Status: events.StatusOK, Content: fmt.Sprintf("%s %s", spec.Name, args)}, nil
}

// client is an MCP client of the SDK at a gateway.
type client struct {
	*sdk.ClientSession
	progress chan string
	changed  chan struct{}
}

func connect(t *testing.T, transport sdk.Transport) *client {
	t.Helper()
	c := &client{progress: make(chan string, 10), changed: make(chan struct{}, 10)}
	session, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, &sdk.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, r *sdk.ProgressNotificationClientRequest) { c.progress <- r.Params.Message },
		ToolListChangedHandler:      func(context.Context, *sdk.ToolListChangedRequest) { c.changed <- struct{}{} },
	}).Connect(t.Context(), transport, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.ClientSession = session
	t.Cleanup(func() {
		if err := session.Close(); err != nil {
			t.Log(err)
		}
	})
	return c
}

// atGateway runs a test with a client at a gateway over each transport.
func atGateway(t *testing.T, f func(t *testing.T, b *bus, c *client)) {
	t.Helper()
	t.Run("over pipes", func(t *testing.T) {
		b := newBus()
		in, toServer := io.Pipe()
		fromServer, out := io.Pipe()
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- b.gateway().ServeStdio(ctx, in, out) }()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		f(t, b, connect(t, &sdk.IOTransport{Reader: fromServer, Writer: toServer}))
	})
	t.Run("over HTTP", func(t *testing.T) {
		b := newBus()
		f(t, b, connect(t, &sdk.StreamableClientTransport{Endpoint: serveGateway(t, b.gateway()), HTTPClient: closing(t)}))
	})
}

// closing is an HTTP client that holds nothing after the test.
func closing(t *testing.T) *http.Client {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func serveGateway(t *testing.T, g *mcp.Gateway) string {
	t.Helper()
	srv := httptest.NewServer(g.Handler())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL
}

func (c *client) list(t *testing.T) map[string]*sdk.Tool {
	t.Helper()
	all := map[string]*sdk.Tool{}
	for tool, err := range c.Tools(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		all[tool.Name] = tool
	}
	return all
}

func (c *client) call(ctx context.Context, name string, args any) (*sdk.CallToolResult, error) {
	p := &sdk.CallToolParams{Name: name, Arguments: args}
	p.SetProgressToken("p")
	return c.CallTool(ctx, p)
}

func TestClientsSeeTheToolsAndTheirChanges(t *testing.T) {
	atGateway(t, func(t *testing.T, b *bus, c *client) {
		all := c.list(t)
		if e := all["echo"]; e == nil || e.Description != "Says it again" || !e.Annotations.ReadOnlyHint || !strings.Contains(fmt.Sprint(e.InputSchema), "text") {
			t.Errorf("echo is %+v", e)
		}
		if p := all["plain"]; p == nil || p.Annotations.ReadOnlyHint || p.Annotations.IdempotentHint || fmt.Sprint(p.InputSchema) != "map[type:object]" {
			t.Errorf("plain is %+v", p)
		}
		if s := all["set"]; s == nil || !s.Annotations.IdempotentHint || s.OutputSchema == nil {
			t.Errorf("set is %+v", s)
		}
		for _, name := range []string{"array", "broken", "header"} {
			if all[name] != nil || !strings.Contains(b.log.String(), "tool="+name) {
				t.Errorf("%s is offered, or not said to be left out", name)
			}
		}
		b.add(events.ToolSpec{Name: "new"})
		<-c.changed
		if c.list(t)["new"] == nil {
			t.Error("the new tool is not there")
		}
	})
}

func TestClientsGetResults(t *testing.T) {
	atGateway(t, func(t *testing.T, _ *bus, c *client) {
		got, err := c.call(t.Context(), "echo", map[string]any{"text": "x"})
		if err != nil || got.IsError || got.Content[0].(*sdk.TextContent).Text != `echo {"text":"x"}` {
			t.Errorf("got %+v, %v", got, err)
		}
		got, err = c.call(t.Context(), "refused", nil)
		if err != nil || !got.IsError || got.Meta["parley/status"] != "refused" {
			t.Errorf("a refused call: %+v, %v", got, err)
		}
		got, err = c.call(t.Context(), "set", nil)
		if err != nil || fmt.Sprint(got.StructuredContent) == "" {
			t.Errorf("structured: %+v, %v", got, err)
		}
		if _, err = c.call(t.Context(), "away", nil); err == nil || !strings.Contains(err.Error(), "the bus is away") {
			t.Errorf("a call that could not be run: %v", err)
		}
		if _, err = c.call(t.Context(), "nowhere", nil); err == nil || !strings.Contains(err.Error(), "unknown tool") {
			t.Errorf("an unknown tool: %v", err)
		}
		if _, err = c.call(t.Context(), "late", nil); err != nil {
			t.Error(err)
		}
	})
}

func TestObjectsAreEmbeddedOrLinked(t *testing.T) {
	atGateway(t, func(t *testing.T, _ *bus, c *client) {
		got, err := c.call(t.Context(), "files", nil)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, piece := range got.Content {
			switch p := piece.(type) {
			case *sdk.TextContent:
				kinds = append(kinds, p.Text)
			case *sdk.ImageContent:
				kinds = append(kinds, p.MIMEType+" "+string(p.Data))
			case *sdk.AudioContent:
				kinds = append(kinds, p.MIMEType+" "+string(p.Data))
			case *sdk.EmbeddedResource:
				kinds = append(kinds, p.Resource.URI+" "+p.Resource.Text+string(p.Resource.Blob))
			case *sdk.ResourceLink:
				kinds = append(kinds, fmt.Sprintf("link %s %s %d", p.Name, p.URI, *p.Size))
			}
		}
		want := []string{"bytes of whole", "image/png bytes of picture", "audio/wav bytes of sound", "file:///a.txt bytes of text",
			"parley://object/b/data bytes of data", "link huge parley://object/b/huge 1073741824", "link gone parley://object/b/lost 1"}
		if !slices.Equal(kinds, want) {
			t.Errorf("got %q, want %q", kinds, want)
		}
	})
}

func TestClientsSeeProgressAndMayCancel(t *testing.T) {
	atGateway(t, func(t *testing.T, b *bus, c *client) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := c.call(ctx, "wait", nil)
			ended <- err
		}()
		if got := <-c.progress; got != "waiting\uFFFD" {
			t.Errorf("progress %q", got)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the client: %v", err)
		}
		if err := <-b.cancelled; !errors.Is(err, context.Canceled) {
			t.Errorf("the tool: %v", err)
		}
	})
}

func TestAGatewayIsAServerLikeOthers(t *testing.T) {
	r := run(t, mcp.Server{URL: serveGateway(t, newBus().gateway())})
	got, err := r.call(t.Context(), "echo", tool.Input{Arguments: json.RawMessage(`{"text":"x"}`)})
	if err != nil || got.Content != `echo {"text":"x"}` {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = r.call(t.Context(), "refused", tool.Input{})
	tooltest.Failed(t, err, "a person said no")
	if _, err = r.call(t.Context(), "away", tool.Input{}); !retryable(err) {
		t.Errorf("got %v", err)
	}
}

func TestAWebPageOfAnotherOriginIsRefused(t *testing.T) {
	url := serveGateway(t, newBus().gateway())
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Origin", "https://evil.example")
	resp, err := closing(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("got %s, %v", resp.Status, err)
	}
}

func TestServeStdioEndsWithItsInput(t *testing.T) {
	b := newBus()
	var out lines
	err := b.gateway().ServeStdio(t.Context(), strings.NewReader("this is no message\n"), &out)
	if err == nil || out.String() != "" {
		t.Errorf("got %v and wrote %q", err, out.String())
	}
	if err := b.gateway().ServeStdio(t.Context(), strings.NewReader(""), &out); err != nil || out.String() != "" {
		t.Errorf("got %v and wrote %q", err, out.String())
	}
}
