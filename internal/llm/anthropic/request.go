package anthropic

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/dialect"
	"github.com/parleybus/parley/internal/llm/transcript"
)

// defaultMaxTokens bounds an answer without a configured bound: the API
// requires one.
const defaultMaxTokens = 8192

// request is the body of POST /v1/messages.
type request struct {
	Model         string        `json:"model"`
	MaxTokens     int64         `json:"max_tokens"`
	System        any           `json:"system,omitempty"` // a string, or blocks
	Messages      []turn        `json:"messages"`
	Tools         []any         `json:"tools,omitempty"`
	ToolChoice    *toolChoice   `json:"tool_choice,omitempty"`
	Thinking      *thinking     `json:"thinking,omitempty"`
	OutputConfig  *outputConfig `json:"output_config,omitempty"`
	Temperature   *float64      `json:"temperature,omitempty"`
	TopP          *float64      `json:"top_p,omitempty"`
	StopSequences []string      `json:"stop_sequences,omitempty"`
	Stream        bool          `json:"stream"`
}

type tool struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	InputSchema json.RawMessage `json:"input_schema"`
}

type toolChoice struct {
	Type string `json:"type"`
	Name string `json:"name,omitempty"`
}

type thinking struct {
	Type         string `json:"type"`
	BudgetTokens int64  `json:"budget_tokens,omitempty"`
	Display      string `json:"display,omitempty"`

	BlockBinding *blockBinding `json:"block_binding,omitempty"`
}

type outputConfig struct {
	Effort string        `json:"effort,omitempty"`
	Format *outputFormat `json:"format,omitempty"`
}

type outputFormat struct {
	Type   string          `json:"type"`
	Schema json.RawMessage `json:"schema"`
}

// body encodes a request, and returns the beta that it uses, if any. Extra adds
// fields.
func (p *Provider) body(req llm.Request) (body []byte, beta string, failed *events.Error) {
	params := req.Parameters
	if err := llm.CheckExtra(params.Extra); err != nil {
		return nil, "", err
	}
	r := request{
		Model:         req.Model,
		MaxTokens:     params.MaxTokens,
		Messages:      turns(p.name, transcript.Fit(p.name, req, transcript.Rules{Media: takes()})),
		Temperature:   params.Temperature,
		TopP:          params.TopP,
		StopSequences: params.Stop,
		Stream:        !req.Whole,
	}
	for _, t := range req.Tools {
		schema := t.Schema
		if len(schema) == 0 {
			schema = json.RawMessage(`{"type":"object"}`)
		}
		r.Tools = append(r.Tools, tool{Name: t.Name, Description: t.Description, InputSchema: schema})
	}
	if len(r.Tools) > 0 {
		r.ToolChoice = choice(params.ToolChoice)
	}
	if req.System != "" {
		r.System = req.System
	}
	r.think(params.ReasoningEffort)
	if len(req.Schema) > 0 {
		if r.OutputConfig == nil {
			r.OutputConfig = &outputConfig{}
		}
		r.OutputConfig.Format = &outputFormat{Type: "json_schema", Schema: dialect.Closed(req.Schema)}
	}
	if r.MaxTokens <= 0 {
		r.MaxTokens = defaultMaxTokens
	}
	extra := maps.Clone(params.Extra)
	if r.lenient(req, extra) {
		beta = bindingBeta
	}
	r.cache()
	body, err := json.Marshal(r)
	if err == nil && len(extra) > 0 {
		body, err = merge(body, extra)
	}
	if err != nil {
		return nil, "", &events.Error{Class: events.ErrInvalidRequest,
			Message: fmt.Sprintf("the request to provider %s is not valid JSON: %v: check tool schemas and extra parameters", p.name, err)}
	}
	return body, beta, nil
}

func choice(word string) *toolChoice {
	switch word {
	case "":
		return nil
	case "auto", "none":
		return &toolChoice{Type: word}
	case "required":
		return &toolChoice{Type: "any"}
	}
	return &toolChoice{Type: "tool", Name: word}
}

// think requests reasoning. Models before 4.6 accept a budget, later ones
// refuse it (HTTP 400) and accept an effort.
//
// Sources: https://docs.claude.com/en/docs/build-with-claude/extended-thinking
// and https://docs.claude.com/en/docs/build-with-claude/adaptive-thinking
func (r *request) think(effort string) {
	var budget int64
	switch effort {
	case "minimal":
		budget = 1024 // the minimum
	case "low":
		budget = 2048
	case "medium":
		budget = 8192
	case "high":
		budget = 24576
	case "xhigh", "max":
		budget = 32768
	default:
		return
	}
	if adaptive(r.Model) {
		if effort == "minimal" {
			effort = "low"
		}
		// Later models hide their reasoning unless it is requested.
		r.Thinking = &thinking{Type: "adaptive", Display: "summarized"}
		r.OutputConfig = &outputConfig{Effort: effort}
		r.Temperature, r.TopP = nil, nil
		return
	}
	if r.ToolChoice != nil && (r.ToolChoice.Type == "any" || r.ToolChoice.Type == "tool") {
		return // a budget and a forced call exclude each other; the forced call takes precedence
	}
	if !startedWithThinking(r.Messages) {
		return
	}
	r.Thinking = &thinking{Type: "enabled", BudgetTokens: budget}
	r.Temperature, r.TopP = nil, nil // refused together with a budget
	switch {
	case r.MaxTokens <= 0:
		// Reserve half of the default for the answer, because Opus 4 stops at
		// 32,000.
		r.MaxTokens = max(defaultMaxTokens, budget+defaultMaxTokens/2)
	case r.MaxTokens <= budget:
		r.MaxTokens += budget
	}
}

// startedWithThinking reports whether a budget is allowed: if results of calls
// are sent, the answer with the calls must start with thinking, which it does
// not if another provider wrote it.
func startedWithThinking(turns []turn) bool {
	n := len(turns)
	if n < 2 {
		return true
	}
	if _, results := turns[n-1].Content[0].(*resultBlock); !results {
		return true
	}
	switch b := turns[n-2].Content[0].(type) {
	case thinkingBlock:
		return true
	case opaqueBlock:
		return b.kind == "redacted_thinking"
	}
	return false
}

// structured reports whether a model has a mode for answers that fit a schema: Claude
// 4.5 and later, and Opus 4.1.
//
// Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs
func structured(model string) bool {
	major, minor := version(model)
	return major > 4 || major == 4 && (minor >= 5 || minor == 1)
}

// adaptive reports whether a model is Claude 4.6 or later.
func adaptive(model string) bool {
	major, minor := version(model)
	return major > 4 || major == 4 && minor >= 6
}

// version returns the version of a Claude model by its name, 0.0 for other names:
// "claude-3-7-sonnet-20250219", "claude-opus-4-20250514", "claude-opus-4.7".
func version(model string) (major, minor int) {
	_, name, ok := strings.Cut(model, "claude-")
	if !ok {
		return 0, 0
	}
	var numbers []int
	for _, word := range strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '.' }) {
		n, err := strconv.Atoi(word)
		switch {
		case err == nil && len(word) <= 2:
			numbers = append(numbers, n)
			continue
		case len(numbers) == 0:
			continue
		}
		break
	}
	numbers = append(numbers, 0, 0)
	return numbers[0], numbers[1]
}

func merge(body []byte, extra map[string]json.RawMessage) ([]byte, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, err
	}
	maps.Copy(fields, extra)
	return json.Marshal(fields)
}
