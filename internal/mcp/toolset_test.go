package mcp_test

import (
	"context"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/mcp"
)

// serving runs a gateway over HTTP as the command does, and connects to it.
func serving(t *testing.T, g *mcp.Gateway) *client {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	at, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- g.ListenAndServe(ctx, "127.0.0.1:0", func(a net.Addr) { at <- "http://" + a.String() + mcp.Path })
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the end: %v", err)
		}
	})
	return connect(t, &sdk.StreamableClientTransport{Endpoint: <-at, HTTPClient: closing(t)})
}

func TestAToolsetLeavesOutWhatIsNotToBeServed(t *testing.T) {
	t.Parallel()
	specs := []events.ToolSpec{{Name: "get_a", Effect: events.EffectPure}, {Name: "get_b"}, {Name: "put", Effect: events.EffectIdempotent}}
	for name, c := range map[string]struct {
		names   []string
		effects []events.Effect
		want    string
	}{
		"all":                       {nil, nil, "get_a get_b put"},
		"by pattern":                {[]string{"get_*"}, nil, "get_a get_b"},
		"by name":                   {[]string{"put", "other"}, nil, "put"},
		"by effect":                 {nil, []events.Effect{events.EffectPure, events.EffectIdempotent}, "get_a put"},
		"no effect is once":         {nil, []events.Effect{events.EffectOnce}, "get_b"},
		"both":                      {[]string{"get_*"}, []events.Effect{events.EffectOnce}, "get_b"},
		"a pattern that is no such": {[]string{"[", "put"}, nil, "put"},
		"none":                      {[]string{"other"}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tools := &mcp.Toolset{Names: c.names, Effects: c.effects}
			tools.Set(specs)
			var got []string
			for name := range serving(t, &mcp.Gateway{Tools: tools}).list(t) {
				got = append(got, name)
			}
			slices.Sort(got)
			if strings.Join(got, " ") != c.want {
				t.Errorf("served are %q, want %q", got, c.want)
			}
		})
	}
}

func TestACallOfAToolThatIsGoneSaysSo(t *testing.T) {
	tools := new(mcp.Toolset)
	tools.Set([]events.ToolSpec{{Name: "a"}, {Name: "b"}})
	// The client is not notified of the change, as nothing runs the gateway.
	srv := httptest.NewServer((&mcp.Gateway{Tools: tools}).Handler())
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	c := connect(t, &sdk.StreamableClientTransport{Endpoint: srv.URL, HTTPClient: closing(t), DisableStandaloneSSE: true})
	tools.Set([]events.ToolSpec{{Name: "b"}})
	r, err := c.call(t.Context(), "a", map[string]any{})
	if err != nil || !r.IsError || !strings.Contains(r.Content[0].(*sdk.TextContent).Text, `nobody serves a tool "a" any more`) {
		t.Errorf("got %+v, %v", r, err)
	}
}
