package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/parleybus/parley/internal/tool"
)

const (
	maxInline = 64 << 10 // bytes of a resource's text that the model reads at once
	maxLinks  = 16       // linked resources that are read, of one result
	maxLinked = 16 << 20 // bytes of a linked resource that is read
	readLink  = 10 * time.Second
)

// gathered is a result under construction.
type gathered struct {
	text  []string
	files []tool.Attachment
	links int
}

// result converts a server's answer to a result.
func (s *session) result(ctx context.Context, a *sdk.CallToolResult) (tool.Result, error) {
	var g gathered
	for _, c := range a.Content {
		s.gather(ctx, &g, c)
	}
	result := tool.Result{Content: strings.ToValidUTF8(strings.Join(g.text, "\n"), "\uFFFD"), Attachments: g.files}
	if a.StructuredContent != nil {
		raw, err := json.Marshal(a.StructuredContent)
		if err != nil {
			return tool.Result{}, tool.Fail("the structured result is not JSON: %v", err)
		}
		result.Structured = raw
		if result.Content == "" {
			result.Content = string(raw)
		}
	}
	if a.IsError {
		if result.Content == "" {
			result.Content = "the tool failed and did not say why"
		}
		return tool.Result{}, tool.Fail("%s", result.Content)
	}
	return result, nil
}

// gather adds one piece of content.
func (s *session) gather(ctx context.Context, g *gathered, c sdk.Content) {
	switch c := c.(type) {
	case *sdk.TextContent:
		g.text = append(g.text, c.Text)
	case *sdk.ImageContent:
		g.attach("image", "", c.MIMEType, c.Data)
	case *sdk.AudioContent:
		g.attach("audio", "", c.MIMEType, c.Data)
	case *sdk.EmbeddedResource:
		if c.Resource != nil {
			g.resource(c.Resource, true)
		}
	case *sdk.ResourceLink:
		line := fmt.Sprintf("[resource %s: %s", clip(c.URI, maxProblem), clip(c.Name, maxProblem))
		if c.Description != "" {
			line += ", " + clip(c.Description, maxProblem)
		}
		g.text = append(g.text, line+"]")
		s.follows(ctx, g, c)
	}
}

// follows reads the resource of a link, if the server returns it. A link that
// cannot be read becomes a line of text and does not fail the call.
func (s *session) follows(ctx context.Context, g *gathered, c *sdk.ResourceLink) {
	can := s.mcp.InitializeResult().Capabilities
	if can == nil || can.Resources == nil || g.links == maxLinks || c.Size != nil && *c.Size > maxLinked {
		return
	}
	g.links++
	ctx, cancel := context.WithTimeout(ctx, readLink)
	defer cancel()
	got, err := s.mcp.ReadResource(withExchange(ctx, &exchange{}), &sdk.ReadResourceParams{URI: c.URI})
	if err != nil {
		s.link.server.Log.Debug("a linked resource could not be read", "uri", clip(c.URI, maxProblem), "error", err)
		return
	}
	for _, r := range got.Contents {
		if r != nil && len(r.Text)+len(r.Blob) <= maxLinked {
			g.resource(r, false)
		}
	}
}

// resource adds a resource: as an attachment, and, if tell is set, its
// text for the model up to a bound.
func (g *gathered) resource(r *sdk.ResourceContents, tell bool) {
	data := r.Blob
	if data == nil {
		data = []byte(r.Text)
	}
	if !tell {
		g.files = append(g.files, tool.Attachment{Name: clip(r.URI, maxProblem), MIME: clip(r.MIMEType, maxProblem), Data: data})
		return
	}
	g.attach("resource", r.URI, r.MIMEType, data)
	if r.Text != "" {
		g.text = append(g.text, clip(r.Text, maxInline))
	}
}

func (g *gathered) attach(what, name, mime string, data []byte) {
	a := tool.Attachment{Name: clip(name, maxProblem), MIME: clip(mime, maxProblem), Data: data}
	g.files = append(g.files, a)
	if a.Name != "" {
		what += " " + a.Name
	}
	if a.MIME != "" {
		what += ", " + a.MIME
	}
	g.text = append(g.text, fmt.Sprintf("[%s, %d bytes]", what, len(data)))
}
