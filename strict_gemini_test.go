package parley_test

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
)

// geminiModel finds the model in a URL of the Gemini API.
var geminiModel = regexp.MustCompile(`/models/([^:/]+):streamGenerateContent$`)

// geminiName is what the API takes as the name of a function.
var geminiName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}$`)

// checkGemini refuses as generativelanguage.googleapis.com does: fields and keywords
// that it does not know, roles that do not alternate, responses that are not exactly
// those to the calls before, empty parts, and calls without a signature of the model or
// the documented value in place of one.
//
// Sources: https://ai.google.dev/api/generate-content,
// https://ai.google.dev/gemini-api/docs/thought-signatures, and the API's errors in
// google-gemini/gemini-cli#4504, #13326 and #26956.
func checkGemini(h *strict, _ *http.Request, body map[string]any) string {
	for _, key := range slices.Sorted(maps.Keys(body)) {
		if !slices.Contains([]string{"model", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "cachedContent"}, key) {
			return fmt.Sprintf("Invalid JSON payload received. Unknown name %q: Cannot find field.", key)
		}
	}
	if why := checkDeclarations(body); why != "" {
		return why
	}
	all := listOf(body)
	if len(all) == 0 || all[0]["role"] != "user" || all[len(all)-1]["role"] != "user" {
		return "Please ensure that the conversation begins and ends with a user turn."
	}
	var open []string // names of the calls of the content before
	for i, c := range all {
		if want := []string{"user", "model"}[i%2]; c["role"] != want {
			return "Please ensure that function call turn comes immediately after a user turn or after a function response turn."
		}
		var calls []string
		responses, others := 0, 0
		parts, _ := c["parts"].([]any)
		for j, p := range parts {
			p := p.(map[string]any)
			signature, signed := p["thoughtSignature"].(string)
			if was, known := h.issued[signature]; signed && (!known || was.model != body["model"]) && signature != "skip_thought_signature_validator" {
				return fmt.Sprintf("contents[%d].parts[%d]: Corrupted thought signature.", i, j)
			}
			if call, is := p["functionCall"].(map[string]any); is {
				if len(calls) == 0 && !signed {
					return fmt.Sprintf("Function call is missing a thought_signature in functionCall parts: `%v`, position %d.", call["name"], j)
				}
				if _, is := call["args"].(map[string]any); !is || !geminiName.MatchString(fmt.Sprint(call["name"])) {
					return "Invalid function name. Must start with a letter or an underscore. Must be alphameric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of 64."
				}
				calls = append(calls, call["name"].(string))
				continue
			}
			if response, is := p["functionResponse"].(map[string]any); is {
				if responses >= len(open) || open[responses] != response["name"] {
					return "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn."
				}
				responses++
				continue
			}
			others++
			if inline, is := p["inlineData"].(map[string]any); is && c["role"] == "user" {
				if !isPicture(inline["mimeType"], inline["data"]) {
					return "Unable to process input image. Please retry or report in https://developers.generativeai.google/guide/troubleshooting"
				}
				continue
			}
			if text, is := p["text"].(string); !is || text == "" && !signed {
				return fmt.Sprintf("contents[%d].parts[%d]: required oneof field 'data' must have one initialized field", i, j)
			}
		}
		if len(parts) == 0 || responses != len(open) || len(open) > 0 && others > 0 {
			return "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn."
		}
		open = calls
	}
	return ""
}

// checkDeclarations refuses schemas with keywords that the API does not document.
func checkDeclarations(body map[string]any) string {
	tools, _ := body["tools"].([]any)
	for _, set := range tools {
		functions, _ := set.(map[string]any)["functionDeclarations"].([]any)
		for i, f := range functions {
			f := f.(map[string]any)
			if f["parameters"] != nil {
				return fmt.Sprintf("tools[0].function_declarations[%d].parameters: this fake takes JSON Schema only", i)
			}
			if key := unknownKeyword(f["parametersJsonSchema"]); key != "" {
				return fmt.Sprintf("Invalid JSON payload received. Unknown name %q at 'tools[0].function_declarations[%d].parameters_json_schema': Cannot find field.", key, i)
			}
		}
	}
	return ""
}

func unknownKeyword(schema any) string {
	s, _ := schema.(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(s)) {
		v := s[key]
		switch key {
		case "type", "format", "title", "description", "enum", "minItems", "maxItems", "minimum", "maximum", "required", "propertyOrdering":
		case "items", "additionalProperties":
			if bad := unknownKeyword(v); bad != "" {
				return bad
			}
		case "properties":
			for _, p := range v.(map[string]any) {
				if bad := unknownKeyword(p); bad != "" {
					return bad
				}
			}
		case "anyOf", "oneOf", "prefixItems":
			for _, p := range v.([]any) {
				if bad := unknownKeyword(p); bad != "" {
					return bad
				}
			}
		default:
			return key
		}
	}
	return ""
}

func writeGemini(w http.ResponseWriter, a strictAnswer) {
	chunk := func(part, more string) string {
		return `{"candidates":[{"content":{"role":"model","parts":[` + part + `]},"index":0` + more + `}],"modelVersion":` + quoted(a.model) + `,"usageMetadata":{"promptTokenCount":5}}`
	}
	payloads := []string{chunk(`{"text":"`+a.thought()+`","thought":true}`, "")}
	signature := `,"thoughtSignature":` + quoted(a.carry)
	for i, c := range a.calls {
		if i > 0 {
			signature = "" // parallel calls have one in the first
		}
		payloads = append(payloads, chunk(`{"functionCall":{"id":`+quoted(c.id)+`,"name":`+quoted(c.name)+`,"args":`+whole(c.arguments)+`}`+signature+`}`, ""))
	}
	if a.text != "" {
		payloads = append(payloads, chunk(`{"text":`+quoted(a.text)+`}`, ""))
	}
	switch {
	case a.cut:
	case len(a.calls) > 0:
		payloads = append(payloads, chunk("", `,"finishReason":"STOP"`))
	default:
		payloads = append(payloads, chunk(`{"text":""`+signature+`}`, `,"finishReason":"STOP"`))
	}
	stream(w, false, payloads...)
}

// whole returns arguments of a call that was cut as the API has them: it sends calls
// whole.
func whole(arguments string) string {
	if arguments == `{"q":"half` {
		return `{"q":"half"}`
	}
	return arguments
}
