package openairesponses

import (
	"encoding/json"
	"strings"

	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"

	"github.com/parleybus/parley/internal/llm"
)

// tools sets the tools of a request and how the model chooses among them.
func tools(params *responses.ResponseNewParams, req llm.Request) {
	for _, tool := range req.Tools {
		f := &responses.FunctionToolParam{
			Name:   tool.Name,
			Strict: param.NewOpt(false), // the default rewrites schemas and refuses many
		}
		schema := tool.Schema
		if len(schema) == 0 {
			schema = json.RawMessage(`{"type":"object","properties":{}}`)
		}
		// Unchanged: a map would lose the order of the properties, which models
		// follow.
		f.SetExtraFields(map[string]any{"parameters": schema})
		if tool.Description != "" {
			f.Description = param.NewOpt(tool.Description)
		}
		params.Tools = append(params.Tools, responses.ToolUnionParam{OfFunction: f})
	}
	if len(req.Tools) == 0 {
		return
	}
	switch choice := req.Parameters.ToolChoice; choice {
	case "":
	case "auto", "none", "required":
		params.ToolChoice.OfToolChoiceMode = param.NewOpt(responses.ToolChoiceOptions(choice))
	default:
		params.ToolChoice.OfFunctionTool = &responses.ToolChoiceFunctionParam{Name: choice}
	}
}

// reasons reports whether to request encrypted reasoning: OpenAI answers 400
// "Encrypted content is not supported with this model" for a model without
// reasoning. Unknown models get the request; Parameters.Extra can set another
// "include".
//
// Source: https://github.com/pydantic/pydantic-ai/issues/2865 and 3326.
func reasons(model string) bool {
	name := model[strings.LastIndex(model, "/")+1:]
	for _, old := range []string{"gpt-3.5", "gpt-4", "chatgpt-4", "gpt-5-chat"} {
		if strings.HasPrefix(name, old) {
			return false
		}
	}
	return true
}
