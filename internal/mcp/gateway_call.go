package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"unicode/utf8"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/parleybus/parley/internal/events"
)

const (
	// statusKey is the key of Parley's status in the _meta of a result: isError
	// means only that it is not ok.
	statusKey = "parley/status"
	// maxEmbedded bounds the bytes of embedded objects in one answer; the
	// others become links.
	maxEmbedded = 8 << 20
)

// handle runs one call of a client.
func (g *Gateway) handle(ctx context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	p := &pieces{ctx: ctx, session: r.Session, token: r.Params.GetProgressToken()}
	defer p.stop()
	spec, found := g.Tools.find(r.Params.Name)
	if !found {
		return g.answer(ctx, &events.ToolResult{Tool: r.Params.Name, Status: events.StatusUnknownTool,
			Content: fmt.Sprintf("nobody serves a tool %q any more: ask for the list of tools again", strings.ToValidUTF8(r.Params.Name, "\uFFFD"))}), nil
	}
	result, err := g.Call(ctx, spec, events.Arguments(string(r.Params.Arguments)), p.show)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("the call of %s could not be run: %w", r.Params.Name, err)
	case result == nil:
		return nil, fmt.Errorf("the call of %s has no result", r.Params.Name)
	}
	return g.answer(ctx, result), nil
}

// pieces sends a call's progress to its client, in order, and nothing after its
// end.
type pieces struct {
	ctx     context.Context
	session *sdk.ServerSession
	token   any

	mu      sync.Mutex
	sent    int
	stopped bool
}

func (p *pieces) show(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.token == nil || p.stopped {
		return
	}
	p.sent++
	// Progress is only for display: the context ends the call of a disconnected
	// client.
	_ = p.session.NotifyProgress(p.ctx, &sdk.ProgressNotificationParams{ProgressToken: p.token,
		Progress: float64(p.sent), Message: clip(text, maxProgress)})
}

func (p *pieces) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
}

// answer converts a result to MCP's type.
func (g *Gateway) answer(ctx context.Context, r *events.ToolResult) *sdk.CallToolResult {
	a := &sdk.CallToolResult{Meta: sdk.Meta{statusKey: string(r.Status)}, IsError: r.Status != events.StatusOK}
	left := int64(maxEmbedded)
	text := r.Content
	if whole, ok := g.fetch(ctx, r.Object, &left); ok && utf8.Valid(whole) {
		text = string(whole)
	} else if r.Object != nil {
		a.Content = append(a.Content, linkTo("the whole result", "text/plain", r.Object))
	}
	a.Content = append([]sdk.Content{&sdk.TextContent{Text: strings.ToValidUTF8(text, "\uFFFD")}}, a.Content...)
	for _, f := range r.Attachments {
		if f.Object == nil {
			continue
		}
		if data, ok := g.fetch(ctx, f.Object, &left); ok {
			a.Content = append(a.Content, embed(f, data))
		} else {
			a.Content = append(a.Content, linkTo(f.Name, f.MIME, f.Object))
		}
	}
	if len(r.Structured) > 0 && json.Valid(r.Structured) {
		a.StructuredContent = r.Structured
	}
	return a
}

// fetch returns an object's bytes, if they fit into the answer.
func (g *Gateway) fetch(ctx context.Context, o *events.Object, left *int64) ([]byte, bool) {
	if o == nil || g.Fetch == nil || o.Size > *left {
		return nil, false
	}
	data, err := g.Fetch(ctx, o)
	if err != nil {
		g.log.Warn("an object could not be read for an MCP client, who gets a link", "object", o.Name, "error", err)
		return nil, false
	}
	if int64(len(data)) > *left {
		return nil, false
	}
	*left -= int64(len(data))
	return data, true
}

// embed adds an attachment to the answer.
func embed(f events.Attachment, data []byte) sdk.Content {
	switch {
	case strings.HasPrefix(f.MIME, "image/"):
		return &sdk.ImageContent{Data: data, MIMEType: f.MIME}
	case strings.HasPrefix(f.MIME, "audio/"):
		return &sdk.AudioContent{Data: data, MIMEType: f.MIME}
	}
	c := &sdk.ResourceContents{URI: address(f.Name, f.Object), MIMEType: f.MIME}
	if strings.HasPrefix(f.MIME, "text/") && utf8.Valid(data) && len(data) > 0 {
		c.Text = string(data)
	} else {
		c.Blob = append([]byte{}, data...)
	}
	return &sdk.EmbeddedResource{Resource: c}
}

// linkTo returns a link to an object, for people and programs with access to
// the bus.
func linkTo(name, mime string, o *events.Object) sdk.Content {
	if name == "" {
		name = o.Name
	}
	return &sdk.ResourceLink{URI: objectURI(o), Name: strings.ToValidUTF8(name, "\uFFFD"), MIMEType: mime, Size: &o.Size}
}

// address returns the URI of an attachment: its own, if it has one.
func address(name string, o *events.Object) string {
	if u, err := url.Parse(name); err == nil && u.Scheme != "" {
		return name
	}
	return objectURI(o)
}

func objectURI(o *events.Object) string {
	return (&url.URL{Scheme: "parley", Host: "object", Path: "/" + o.Bucket + "/" + o.Name}).String()
}
