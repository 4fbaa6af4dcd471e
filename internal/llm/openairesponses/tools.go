package openairesponses

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"

	"github.com/parleybus/parley/internal/llm"
)

// tools sets the tools of a request and how the model chooses among them.
func tools(params *responses.ResponseNewParams, req llm.Request) error {
	for _, tool := range req.Tools {
		schema := map[string]any{"type": "object", "properties": json.RawMessage("{}")}
		if len(tool.Schema) > 0 {
			var fields map[string]json.RawMessage
			if err := json.Unmarshal(tool.Schema, &fields); err != nil {
				return fmt.Errorf("the schema of tool %s is not a JSON object: %w; correct the tool", tool.Name, err)
			}
			for k, v := range fields {
				schema[k] = v
			}
		}
		f := &responses.FunctionToolParam{
			Name:       tool.Name,
			Parameters: schema,
			Strict:     param.NewOpt(false), // the default rewrites schemas and refuses many
		}
		if tool.Description != "" {
			f.Description = param.NewOpt(tool.Description)
		}
		params.Tools = append(params.Tools, responses.ToolUnionParam{OfFunction: f})
	}
	if len(req.Tools) == 0 {
		return nil
	}
	switch choice := req.Parameters.ToolChoice; choice {
	case "":
	case "auto", "none", "required":
		params.ToolChoice.OfToolChoiceMode = param.NewOpt(responses.ToolChoiceOptions(choice))
	default:
		params.ToolChoice.OfFunctionTool = &responses.ToolChoiceFunctionParam{Name: choice}
	}
	return nil
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
