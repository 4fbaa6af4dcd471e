package gemini

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/dialect"
)

// request is the body of models.streamGenerateContent.
type request struct {
	SystemInstruction *content          `json:"systemInstruction,omitempty"`
	Contents          []content         `json:"contents"`
	Tools             []toolSet         `json:"tools,omitempty"`
	ToolConfig        *toolConfig       `json:"toolConfig,omitempty"`
	GenerationConfig  *generationConfig `json:"generationConfig,omitempty"`
}

type toolSet struct {
	Functions []function `json:"functionDeclarations"`
}

// function declares a tool. Its schema is JSON Schema: the older field "parameters"
// takes a subset of OpenAPI 3.0, where every unknown keyword refuses the request.
type function struct {
	Name        string          `json:"name"`
	Description string          `json:"description"` // required by the API
	Schema      json.RawMessage `json:"parametersJsonSchema,omitempty"`
}

type toolConfig struct {
	Calling callingConfig `json:"functionCallingConfig"`
}

type callingConfig struct {
	Mode    string   `json:"mode"`
	Allowed []string `json:"allowedFunctionNames,omitempty"`
}

type generationConfig struct {
	MaxOutputTokens int64           `json:"maxOutputTokens,omitempty"`
	Temperature     *float64        `json:"temperature,omitempty"`
	TopP            *float64        `json:"topP,omitempty"`
	Seed            *int64          `json:"seed,omitempty"`
	StopSequences   []string        `json:"stopSequences,omitempty"`
	Thinking        *thinkingConfig `json:"thinkingConfig,omitempty"`
	MIME            string          `json:"responseMimeType,omitempty"`
	Schema          json.RawMessage `json:"responseJsonSchema,omitempty"`
}

// configKey is the field whose members Extra may add one by one.
const configKey = "generationConfig"

// body encodes a request. Extra adds fields; its "generationConfig" is merged.
func (p *Provider) body(req llm.Request) ([]byte, *events.Error) {
	params := req.Parameters
	if err := llm.CheckExtra(params.Extra); err != nil {
		return nil, err
	}
	r := request{Contents: contents(p.name, req)}
	if req.System != "" {
		r.SystemInstruction = &content{Parts: []part{{"text": req.System}}}
	}
	if len(req.Tools) > 0 {
		set := toolSet{}
		for _, t := range req.Tools {
			set.Functions = append(set.Functions, function{Name: t.Name, Description: t.Description, Schema: arguments(t.Schema)})
		}
		r.Tools, r.ToolConfig = []toolSet{set}, choice(params.ToolChoice)
	}
	config := generationConfig{MaxOutputTokens: params.MaxTokens, Temperature: params.Temperature, TopP: params.TopP,
		Seed: params.Seed, StopSequences: params.Stop, Thinking: think(req.Model, params.ReasoningEffort)}
	if len(req.Schema) > 0 {
		config.MIME, config.Schema = "application/json", dialect.Gemini().Answer(req.Schema)
	}
	if len(config.Schema) > 0 || config.MaxOutputTokens > 0 || config.Temperature != nil || config.TopP != nil || config.Seed != nil || len(config.StopSequences) > 0 || config.Thinking != nil {
		r.GenerationConfig = &config
	}
	body, err := json.Marshal(r)
	if err == nil && len(params.Extra) > 0 {
		body, err = merge(body, params.Extra)
	}
	if err != nil {
		return nil, &events.Error{Class: events.ErrInvalidRequest,
			Message: fmt.Sprintf("the request to provider %s is not valid JSON: %v: check tool schemas and extra parameters", p.name, err)}
	}
	return body, nil
}

// arguments returns a schema; nil for a tool without arguments, whose empty object
// versions of the API refuse.
func arguments(schema json.RawMessage) json.RawMessage {
	var s struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if parse(schema, &s) == nil && len(s.Properties) == 0 {
		return nil
	}
	return schema
}

func choice(word string) *toolConfig {
	switch word {
	case "":
		return nil
	case "auto":
		return &toolConfig{callingConfig{Mode: "AUTO"}}
	case "none":
		return &toolConfig{callingConfig{Mode: "NONE"}}
	case "required":
		return &toolConfig{callingConfig{Mode: "ANY"}}
	}
	return &toolConfig{callingConfig{Mode: "ANY", Allowed: []string{word}}}
}

func merge(body []byte, extra map[string]json.RawMessage) ([]byte, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, err
	}
	own := fields[configKey]
	maps.Copy(fields, extra)
	if given, ok := extra[configKey]; ok {
		config := map[string]json.RawMessage{}
		if err := json.Unmarshal(given, &config); err != nil {
			return nil, err
		}
		if len(own) > 0 {
			if err := json.Unmarshal(own, &config); err != nil {
				return nil, err
			}
		}
		raw, err := json.Marshal(config)
		if err != nil {
			return nil, err
		}
		fields[configKey] = raw
	}
	return json.Marshal(fields)
}
