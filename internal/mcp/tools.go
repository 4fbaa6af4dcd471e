package mcp

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

const (
	maxName        = 64
	maxDescription = 16 << 10  // bytes
	maxReason      = 500       // bytes of why a tool is left out
	maxLongName    = 200       // bytes of the server's name of it
	maxSchema      = 256 << 10 // bytes of one schema
)

// tools converts a server's list to tools. It leaves out unusable ones and logs
// them.
func (l *link) tools(list []*sdk.Tool) []tool.Tool {
	log := l.server.Log
	var all []tool.Tool
	l.omitted = nil
	omit := func(t *sdk.Tool, reason string) {
		l.omitted = append(l.omitted, events.OmittedTool{Tool: clip(t.Name, maxLongName), Server: l.server.Name, Reason: reason})
	}
	taken := map[string]string{} // Parley's name of a tool to the server's
	for _, t := range inOrder(list, l.server.Prefix) {
		if len(all) == maxTools {
			log.Warn("an MCP server lists too many tools; the rest is left out", "tools", len(list), "limit", maxTools)
			omit(t, fmt.Sprintf("the server lists %d tools, more than %d; it and those after it are left out", len(list), maxTools))
			break
		}
		spec, err := l.spec(t)
		if err != nil {
			log.Warn("a tool of an MCP server cannot be used and is left out", "tool", clip(t.Name, maxProblem), "error", err)
			omit(t, clip(strings.Join(strings.Fields(err.Error()), " "), maxReason))
			continue
		}
		if other, double := taken[spec.Name]; double {
			log.Warn("two tools of an MCP server have one name here; the second is left out", "name", spec.Name, "first", other, "second", clip(t.Name, maxProblem))
			omit(t, fmt.Sprintf("its name here is %q, as that of %q: rename it on the server", spec.Name, clip(other, maxProblem)))
			continue
		}
		taken[spec.Name] = t.Name
		all = append(all, &remote{link: l, name: t.Name, spec: spec})
	}
	return all
}

// inOrder sorts tools that keep their name before those whose name changes.
func inOrder(list []*sdk.Tool, prefix string) []*sdk.Tool {
	var kept, changed []*sdk.Tool
	for _, t := range list {
		if localName(prefix, t.Name) == prefix+t.Name {
			kept = append(kept, t)
		} else {
			changed = append(changed, t)
		}
	}
	return append(kept, changed...)
}

// spec converts a server's description of a tool to a specification.
func (l *link) spec(t *sdk.Tool) (events.ToolSpec, error) {
	spec := events.ToolSpec{Name: localName(l.server.Prefix, t.Name), Effect: effect(t.Annotations), TimeoutMS: l.server.Timeout.Milliseconds(), Server: l.server.Name}
	if t.Name == "" {
		return spec, fmt.Errorf("it has no name")
	}
	title := t.Title
	if t.Annotations != nil {
		title = cmp.Or(title, t.Annotations.Title)
	}
	spec.Description = clip(cmp.Or(t.Description, title), maxDescription)
	var err error
	if spec.Schema, err = schema(t.InputSchema); err != nil {
		return spec, fmt.Errorf("its input schema %w", err)
	}
	if spec.Schema == nil {
		spec.Schema = json.RawMessage(`{"type":"object"}`)
	}
	if err := l.check.Check(spec); err != nil {
		return spec, err
	}
	if spec.Output, err = schema(t.OutputSchema); err == nil && spec.Output != nil {
		err = l.check.Check(events.ToolSpec{Name: spec.Name, Schema: spec.Output})
	}
	if err != nil {
		l.server.Log.Warn("the output schema of a tool of an MCP server cannot be used: its structured results are not checked", "tool", spec.Name, "error", err)
		spec.Output = nil
	}
	return spec, nil
}

func schema(from any) (json.RawMessage, error) {
	if from == nil {
		return nil, nil
	}
	raw, err := json.Marshal(from)
	switch {
	case err != nil:
		return nil, fmt.Errorf("is not JSON: %w", err)
	case len(raw) > maxSchema:
		return nil, fmt.Errorf("has %d bytes, more than %d", len(raw), maxSchema)
	case !bytes.HasPrefix(raw, []byte("{")):
		return nil, fmt.Errorf("is not a JSON object")
	}
	return raw, nil
}

// effect returns the effect class of a server's hints.
func effect(a *sdk.ToolAnnotations) events.Effect {
	switch {
	case a != nil && a.ReadOnlyHint:
		return events.EffectPure
	case a != nil && a.IdempotentHint:
		return events.EffectIdempotent
	}
	return events.EffectOnce
}

// localName returns Parley's name of a tool: letters, digits, _ and -, at most
// 64. A longer name is cut and gets a digest of the full name, which keeps it
// unique.
func localName(prefix, name string) string {
	all := prefix + name
	local := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, all)
	if len(local) > maxName {
		local = fmt.Sprintf("%s_%x", local[:maxName-9], sha256.Sum256([]byte(all)))[:maxName]
	}
	return local
}
