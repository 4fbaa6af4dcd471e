package mcp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// serveAs is the main of the tests' binary as an MCP server.
func serveAs(kind string) int {
	var err error
	switch kind {
	case "hangs":
		<-time.After(time.Hour)
	case "exits":
		fmt.Fprintln(os.Stderr, "no licence for this machine")
		return 3
	case "babbles":
		for err == nil {
			_, err = fmt.Println("Loading model weights, please wait...")
		}
	case "floods":
		for range 20000 {
			fmt.Fprintln(os.Stderr, "debug: "+strings.Repeat("x", 5000))
		}
		err = peer().Run(context.Background(), &sdk.StdioTransport{})
	case "downloads":
		for i := range 20 {
			fmt.Fprintln(os.Stderr, "downloading", i)
			<-time.After(50 * time.Millisecond)
		}
		err = raw(kind)
	case "greets":
		fmt.Println("Server listening on stdio.\n{\"not\": \"a message\"}\n[]\n\xff\xfe")
		err = peer().Run(context.Background(), &sdk.StdioTransport{})
	case "tools":
		err = peer().Run(context.Background(), &sdk.StdioTransport{})
	default:
		err = raw(kind)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// marked reports whether a mark was set before, in any process, and sets it.
func marked(name string) bool {
	path := filepath.Join(os.Getenv("PARLEY_TEST_DIR"), name)
	_, err := os.Stat(path)
	if err != nil {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	return err == nil
}

func text(format string, args ...any) *sdk.CallToolResult {
	return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: fmt.Sprintf(format, args...)}}}
}

type none struct{}

type words struct {
	Text string `json:"text" jsonschema:"what to say"`
}

type numbers struct {
	A int `json:"a"`
	B int `json:"b"`
}

type total struct {
	Sum int `json:"sum"`
}

// peer is a whole MCP server with a tool for each thing that is tested.
func peer() *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "peer", Version: "1"}, &sdk.ServerOptions{PageSize: 2})
	pure := &sdk.ToolAnnotations{ReadOnlyHint: true}
	idempotent := &sdk.ToolAnnotations{IdempotentHint: true}
	sdk.AddTool(s, &sdk.Tool{Name: "echo", Description: "Says it again", Annotations: pure}, func(_ context.Context, _ *sdk.CallToolRequest, in words) (*sdk.CallToolResult, any, error) {
		return text("you said %s", in.Text), nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "sum", Annotations: idempotent}, func(_ context.Context, _ *sdk.CallToolRequest, in numbers) (*sdk.CallToolResult, total, error) {
		return nil, total{Sum: in.A + in.B}, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "fail"}, func(context.Context, *sdk.CallToolRequest, none) (*sdk.CallToolResult, any, error) {
		return nil, nil, fmt.Errorf("the disk is full: free some space")
	})
	sdk.AddTool(s, &sdk.Tool{Name: "big", Annotations: pure}, func(_ context.Context, _ *sdk.CallToolRequest, in numbers) (*sdk.CallToolResult, any, error) {
		return text("%s", strings.Repeat("0123456789abcde\n", in.A<<16)), nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "length"}, func(_ context.Context, _ *sdk.CallToolRequest, in words) (*sdk.CallToolResult, any, error) {
		return text("%d", len(in.Text)), nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "grow"}, func(context.Context, *sdk.CallToolRequest, none) (*sdk.CallToolResult, any, error) {
		sdk.AddTool(s, &sdk.Tool{Name: "grown"}, func(context.Context, *sdk.CallToolRequest, none) (*sdk.CallToolResult, any, error) {
			return text("new"), nil, nil
		})
		s.RemoveTools("fail")
		return text("grown"), nil, nil
	})
	addSlow(s)
	addMedia(s)
	addPages(s)
	for name, a := range map[string]*sdk.ToolAnnotations{"die_pure": pure, "die_idempotent": idempotent, "die_once": nil} {
		sdk.AddTool(s, &sdk.Tool{Name: name, Annotations: a}, func(context.Context, *sdk.CallToolRequest, none) (*sdk.CallToolResult, any, error) {
			if marked(name) {
				return text("alive"), nil, nil
			}
			return nil, nil, syscall.Kill(os.Getpid(), syscall.SIGKILL)
		})
	}
	return s
}

// addSlow adds tools that take their time, and those that look after them.
func addSlow(s *sdk.Server) {
	release, cancelled := make(chan none), make(chan none)
	sdk.AddTool(s, &sdk.Tool{Name: "progress"}, func(ctx context.Context, r *sdk.CallToolRequest, _ none) (*sdk.CallToolResult, any, error) {
		for i := range 3 {
			p := &sdk.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: float64(i + 1), Total: 3, Message: "step\xff"}
			if err := r.Session.NotifyProgress(ctx, p); err != nil {
				return nil, nil, err
			}
		}
		<-release
		return text("done"), nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "release"}, func(context.Context, *sdk.CallToolRequest, none) (*sdk.CallToolResult, any, error) {
		release <- none{}
		return text("released"), nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "wait"}, func(ctx context.Context, r *sdk.CallToolRequest, _ none) (*sdk.CallToolResult, any, error) {
		p := &sdk.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: 1}
		if err := r.Session.NotifyProgress(ctx, p); err != nil {
			return nil, nil, err
		}
		<-ctx.Done()
		cancelled <- none{}
		return nil, nil, ctx.Err()
	})
	sdk.AddTool(s, &sdk.Tool{Name: "cancelled"}, func(context.Context, *sdk.CallToolRequest, none) (*sdk.CallToolResult, any, error) {
		<-cancelled
		return text("it was"), nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "fork"}, func(context.Context, *sdk.CallToolRequest, none) (*sdk.CallToolResult, any, error) {
		c := exec.Command("sleep", "1000")
		c.Stdout, c.Stderr = os.Stdout, os.Stderr // it keeps our pipes open
		err := c.Start()
		if err != nil {
			return nil, nil, err
		}
		return text("%d", c.Process.Pid), nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "environment"}, func(context.Context, *sdk.CallToolRequest, none) (*sdk.CallToolResult, any, error) {
		return text("%s", strings.Join(os.Environ(), "\n")), nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "ask"}, func(ctx context.Context, r *sdk.CallToolRequest, _ none) (*sdk.CallToolResult, any, error) {
		schema := map[string]any{"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}}
		if r.Session.InitializeParams().ProtocolVersion >= "2026-07-28" {
			if r.Params.InputResponses == nil {
				return &sdk.CallToolResult{InputRequests: sdk.InputRequestMap{"who": &sdk.ElicitParams{Mode: "form", Message: "Who are you?", RequestedSchema: schema}}}, nil, nil
			}
			got, ok := r.Params.InputResponses["who"].(*sdk.ElicitResult)
			if !ok {
				return nil, nil, fmt.Errorf("no answer among %v", r.Params.InputResponses)
			}
			return text("%s %v", got.Action, got.Content["name"]), nil, nil
		}
		got, err := r.Session.Elicit(ctx, &sdk.ElicitParams{Mode: "form", Message: "Who are you?", RequestedSchema: schema})
		if err != nil {
			return nil, nil, err
		}
		return text("%s %v", got.Action, got.Content["name"]), nil, nil
	})
}

// addPages adds tools that ask a person to open a page: visit in the middle of its
// call, locked before it runs, until a page was opened, and lure one that is no page.
func addPages(s *sdk.Server) {
	for name, to := range map[string]string{"visit": "https://peer.example/login?for=ada", "lure": "javascript:alert(1)"} {
		sdk.AddTool(s, &sdk.Tool{Name: name}, func(ctx context.Context, r *sdk.CallToolRequest, _ none) (*sdk.CallToolResult, any, error) {
			p := &sdk.ElicitParams{Mode: "url", Message: "Log in on our page.", URL: to, ElicitationID: name}
			if r.Session.InitializeParams().ProtocolVersion >= "2026-07-28" {
				if r.Params.InputResponses == nil {
					return &sdk.CallToolResult{InputRequests: sdk.InputRequestMap{"page": p}}, nil, nil
				}
				got, ok := r.Params.InputResponses["page"].(*sdk.ElicitResult)
				if !ok {
					return nil, nil, fmt.Errorf("no answer among %v", r.Params.InputResponses)
				}
				return text("%s", got.Action), nil, nil
			}
			got, err := r.Session.Elicit(ctx, p)
			if err != nil {
				return nil, nil, err
			}
			return text("%s", got.Action), nil, nil
		})
	}
	var tries atomic.Int64
	s.AddTool(&sdk.Tool{Name: "locked", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		if tries.Add(1)%2 == 1 {
			return nil, sdk.URLElicitationRequiredError([]*sdk.ElicitParams{{Mode: "url", Message: "Unlock it.", URL: "https://peer.example/unlock", ElicitationID: "1"}})
		}
		return text("unlocked"), nil
	})
}

// addMedia adds tools that give more than text.
func addMedia(s *sdk.Server) {
	sdk.AddTool(s, &sdk.Tool{Name: "media", Annotations: &sdk.ToolAnnotations{ReadOnlyHint: true}}, func(context.Context, *sdk.CallToolRequest, none) (*sdk.CallToolResult, any, error) {
		return &sdk.CallToolResult{Content: []sdk.Content{
			&sdk.TextContent{Text: "Look:"},
			&sdk.ImageContent{MIMEType: "image/png", Data: []byte("\x89PNG")},
			&sdk.AudioContent{MIMEType: "audio/wav", Data: []byte("RIFF")},
			&sdk.EmbeddedResource{Resource: &sdk.ResourceContents{URI: "peer://poem", MIMEType: "text/plain", Text: "Roses are red"}},
			&sdk.ResourceLink{URI: "peer://report", Name: "report", Description: "of the year"},
			&sdk.ResourceLink{URI: "https://example.com/not-here", Name: "elsewhere"},
		}}, nil, nil
	})
	s.AddResource(&sdk.Resource{URI: "peer://report", Name: "report"}, func(context.Context, *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: "peer://report", MIMEType: "text/csv", Text: "a,b\n1,2\n"}}}, nil
	})
}
