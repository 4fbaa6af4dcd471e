package openai

import (
	"encoding/json"
	"fmt"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/shared"

	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/dialect"
)

// body returns the JSON of a request. Parameters.Extra adds fields.
func (p *Provider) body(req llm.Request) ([]byte, error) {
	if err := llm.CheckExtra(req.Parameters.Extra); err != nil {
		return nil, err
	}
	messages, err := p.messages(req)
	if err != nil {
		return nil, err
	}
	set := req.Parameters
	params := sdk.ChatCompletionNewParams{Model: req.Model, Messages: messages}
	if !req.Whole {
		params.StreamOptions.IncludeUsage = sdk.Bool(true)
	}
	if set.MaxTokens > 0 {
		// OpenAI's reasoning models refuse max_tokens; many other hosts support
		// only that.
		if req.CompletionTokens || llm.IsOpenAI(p.config.BaseURL) {
			params.MaxCompletionTokens = sdk.Int(set.MaxTokens)
		} else {
			params.MaxTokens = sdk.Int(set.MaxTokens)
		}
	}
	if set.Temperature != nil {
		params.Temperature = sdk.Float(*set.Temperature)
	}
	if set.TopP != nil {
		params.TopP = sdk.Float(*set.TopP)
	}
	if set.Seed != nil {
		params.Seed = sdk.Int(*set.Seed)
	}
	params.Stop.OfStringArray = set.Stop
	if len(req.Schema) > 0 {
		// Not strict where the schema is not: OpenAI would refuse it.
		params.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
			Name: "answer", Schema: req.Schema, Strict: sdk.Bool(dialect.Strict(req.Schema))}}
	}
	params.ReasoningEffort = shared.ReasoningEffort(set.ReasoningEffort)
	for _, t := range req.Tools {
		f := shared.FunctionDefinitionParam{Name: t.Name}
		if t.Description != "" {
			f.Description = sdk.String(t.Description)
		}
		schema := t.Schema
		if len(schema) == 0 {
			schema = json.RawMessage(`{"type":"object","properties":{}}`)
		}
		// Unchanged: a map would lose the order of the properties, which models
		// follow.
		f.SetExtraFields(map[string]any{"parameters": schema})
		params.Tools = append(params.Tools, sdk.ChatCompletionFunctionTool(f))
	}
	if len(req.Tools) > 0 {
		params.ToolChoice = toolChoice(set.ToolChoice)
	}
	extra := map[string]any{"stream": !req.Whole}
	if req.CacheKey != "" && llm.IsOpenAI(p.config.BaseURL) {
		extra["prompt_cache_key"] = req.CacheKey
	}
	for key, v := range set.Extra {
		if !json.Valid(v) {
			return nil, fmt.Errorf("the extra parameter %q is not JSON: %.100q", key, v)
		}
		extra[key] = v
	}
	params.SetExtraFields(extra)
	return json.Marshal(params)
}

func toolChoice(choice string) sdk.ChatCompletionToolChoiceOptionUnionParam {
	switch choice {
	case "":
		return sdk.ChatCompletionToolChoiceOptionUnionParam{}
	case "auto", "none", "required":
		return sdk.ChatCompletionToolChoiceOptionUnionParam{OfAuto: sdk.String(choice)}
	}
	return sdk.ToolChoiceOptionFunctionToolChoice(sdk.ChatCompletionNamedToolChoiceFunctionParam{Name: choice})
}
