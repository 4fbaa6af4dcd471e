package ollama

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/ollama/ollama/api"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/transcript"
)

// request is the body of POST /api/chat. Messages and Tools replace the
// library's fields of these names, whose types convert arguments to float64 and
// drop unknown parts of a schema.
type request struct {
	api.ChatRequest
	Messages []message `json:"messages"`
	Tools    []tool    `json:"tools,omitempty"`
}

type message struct {
	Role       string     `json:"role"`
	Content    string     `json:"content"`
	Images     [][]byte   `json:"images,omitempty"` // base64
	Thinking   string     `json:"thinking,omitempty"`
	ToolCalls  []pastCall `json:"tool_calls,omitempty"`
	ToolName   string     `json:"tool_name,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"`
}

type pastCall struct {
	ID       string   `json:"id,omitempty"`
	Function function `json:"function"`
}

type function struct {
	Index     int             `json:"index"`
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

type tool struct {
	Type     string `json:"type"`
	Function struct {
		Name        string          `json:"name"`
		Description string          `json:"description,omitempty"`
		Parameters  json.RawMessage `json:"parameters"`
	} `json:"function"`
}

// body encodes a request. Extra adds fields; its "options" are merged.
func (p *Provider) body(req llm.Request) ([]byte, *events.Error) {
	if err := llm.CheckExtra(req.Parameters.Extra); err != nil {
		return nil, err
	}
	stream := !req.Whole
	r := request{Messages: messages(p.name, req), Tools: tools(req)}
	r.Model, r.Stream, r.Think = req.Model, &stream, think(req.Parameters.ReasoningEffort)
	r.Options = options(req.Parameters)
	r.Format = req.Schema
	body, err := json.Marshal(r)
	if extra := maps.Clone(req.Parameters.Extra); err == nil && len(extra) > 0 {
		own := map[string]any{}
		if json.Unmarshal(extra["options"], &own) == nil {
			delete(extra, "options") // options are merged already
		}
		fields := map[string]json.RawMessage{}
		if err = json.Unmarshal(body, &fields); err == nil {
			maps.Copy(fields, extra)
			body, err = json.Marshal(fields)
		}
	}
	if err != nil {
		return nil, &events.Error{Class: events.ErrInvalidRequest,
			Message: fmt.Sprintf("the request to provider %s is not valid JSON: %v: check tool schemas and extra parameters", p.name, err)}
	}
	return body, nil
}

// options are the model's parameters. num_ctx is not set: the server's default
// applies unless Extra sets it.
func options(p events.Parameters) map[string]any {
	o := map[string]any{}
	if p.MaxTokens > 0 {
		o["num_predict"] = p.MaxTokens
	}
	if p.Temperature != nil {
		o["temperature"] = *p.Temperature
	}
	if p.TopP != nil {
		o["top_p"] = *p.TopP
	}
	if p.Seed != nil {
		o["seed"] = *p.Seed
	}
	if len(p.Stop) > 0 {
		o["stop"] = p.Stop
	}
	own := map[string]json.RawMessage{}
	if json.Unmarshal(p.Extra["options"], &own) == nil {
		for key, value := range own {
			o[key] = value
		}
	}
	return o
}

func think(effort string) *api.ThinkValue {
	switch effort {
	case "", "default":
		return nil
	case "none", "minimal":
		return &api.ThinkValue{Value: false}
	case "xhigh", "max":
		effort = "high"
	}
	return &api.ThinkValue{Value: effort}
}

// tools returns the tools to offer, as far as Ollama supports a choice: none,
// or only the named one. Ollama cannot force a call.
func tools(req llm.Request) []tool {
	choice := req.Parameters.ToolChoice
	if choice == "none" {
		return nil
	}
	var out []tool
	for _, spec := range req.Tools {
		if choice != "" && choice != "auto" && choice != "required" && choice != spec.Name {
			continue
		}
		t := tool{Type: "function"}
		t.Function.Name, t.Function.Description, t.Function.Parameters = spec.Name, spec.Description, spec.Schema
		if len(spec.Schema) == 0 {
			t.Function.Parameters = json.RawMessage(`{"type":"object","properties":{}}`)
		}
		out = append(out, t)
	}
	return out
}

func messages(name string, req llm.Request) []message {
	out := []message{}
	if req.System != "" {
		out = append(out, message{Role: "system", Content: req.System})
	}
	for _, m := range transcript.Fit(name, req, transcript.Rules{Join: true, Bridge: true, Media: &transcript.Media{Images: mostImage, Results: true}}) {
		switch m.Role {
		case events.RoleAssistant:
			if a := assistant(m, m.Provider == name); a.Content != "" || len(a.ToolCalls) > 0 {
				out = append(out, a)
			}
		case events.RoleTool:
			for _, part := range m.Parts {
				if part.Kind == events.PartImage { // of the result before it
					out[len(out)-1].Images = append(out[len(out)-1].Images, part.Data)
					continue
				}
				out = append(out, message{Role: "tool", Content: llm.ResultText(part), ToolName: part.Name, ToolCallID: callID(part)})
			}
		default:
			out = append(out, user(m))
		}
	}
	return out
}

// mostImage bounds an image, in bytes. Ollama itself has no bound.
const mostImage = 16 << 20

// user returns a message of the user: a text, and the images beside it.
func user(m events.Message) message {
	out := message{Role: "user"}
	var text []string
	for _, part := range m.Parts {
		if part.Kind == events.PartImage {
			out.Images = append(out.Images, part.Data)
			continue
		}
		text = append(text, part.Text)
	}
	out.Content = strings.Join(text, "\n\n")
	return out
}

// assistant joins the parts of an answer: Ollama's messages have one text, one
// thinking and then the calls. Reasoning of other providers is left out.
func assistant(m events.Message, own bool) message {
	var text, thinking strings.Builder
	out := message{Role: "assistant"}
	for _, part := range m.Parts {
		switch part.Kind {
		case events.PartText, events.PartRefusal:
			text.WriteString(part.Text)
		case events.PartReasoning:
			if own {
				thinking.WriteString(part.Text)
			}
		case events.PartCall:
			c := pastCall{ID: callID(part)}
			c.Function.Index, c.Function.Name = len(out.ToolCalls), part.Name
			c.Function.Arguments = json.RawMessage("{}")
			if !part.Custom && events.CheckArguments(part.Arguments) == nil {
				c.Function.Arguments = events.Arguments(part.Arguments)
			}
			out.ToolCalls = append(out.ToolCalls, c)
		}
	}
	out.Content, out.Thinking = text.String(), thinking.String()
	return out
}

// callID returns Parley's id of a call, which is unique in the history, unlike
// providers' ids.
func callID(part events.Part) string {
	if part.Call != "" {
		return part.Call
	}
	return part.ProviderID
}
