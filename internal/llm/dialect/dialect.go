// Package dialect adapts tools to what a provider takes. Providers refuse a
// whole request because of one tool: its name, its description, its schema, or
// because there are too many. [Rules.Fit] rewrites what can be rewritten, in the
// order in which it was written, and leaves out the tool that cannot be.
//
// An adapted schema may accept more than the tool's own; arguments are always
// validated against the tool's own schema. Nothing here does I/O, and every
// function is linear in its input.
package dialect

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/parleybus/parley/internal/events"
)

// Rules are what one provider requires of the tools in a request. The zero
// value requires nothing but an object as the arguments.
type Rules struct {
	// Host names the provider in reasons.
	Host string
	// Tools is the most tools of a request; 0 for no bound.
	Tools int
	// Name is the longest name, in bytes; 0 for no bound. Names have letters,
	// digits, _ and -.
	Name int
	// Description is the longest description, in characters; 0 for no bound.
	// The rest of a longer one becomes the description of the schema.
	Description int
	// First demands a letter or _ at the beginning of a name.
	First bool
	// Key is the longest name of an argument, in bytes, of letters, digits,
	// ".", "_" and "-"; 0 for any name.
	Key int
	// Flat refuses anyOf, oneOf, allOf, enum and not at the top of a schema.
	Flat bool
	// Properties demands properties of every object.
	Properties bool
	// Items demands items of every array.
	Items bool
	// Keywords are all that a schema may have, written without references; none for
	// no bound.
	Keywords []string
}

// OpenAI returns the rules of Chat Completions, which compatible hosts copy.
//
// Sources: the API's errors invalid_function_parameters ("object schema missing
// properties", "array schema missing items"), array_above_max_length and
// string_above_max_length, as in getsentry/sentry-mcp#106, mark3labs/mcphost#35
// and Automattic/wordpress-mcp#103.
func OpenAI() Rules {
	return Rules{Host: "OpenAI", Tools: 128, Name: 64, Description: 1024, Flat: true, Properties: true, Items: true}
}

// Responses returns the rules of OpenAI's Responses.
func Responses() Rules {
	r := OpenAI()
	r.Description = 0
	return r
}

// Anthropic returns the rules of Messages, whose schemas follow draft 2020-12.
//
// Sources: the API's errors for tools.N.custom, as in
// anthropics/claude-code#586 and #63673.
func Anthropic() Rules {
	return Rules{Host: "Anthropic", Name: 128, Key: 64, Flat: true}
}

// Ollama returns the rules of Ollama's chat, which decodes schemas into structs
// and hides from the model what these lack, such as a union at the top.
//
// Source: api.ToolFunctionParameters and api.ToolProperty.
func Ollama() Rules { return Rules{Host: "Ollama", Flat: true, Properties: true} }

// Gemini returns the rules of Gemini's function declarations with a JSON Schema
// (parametersJsonSchema), of which Google documents the keywords that are supported.
// References are supported in part only, and not beside other keywords.
//
// Sources: https://ai.google.dev/api/generate-content (responseJsonSchema) and
// https://ai.google.dev/api/caching#FunctionDeclaration; the API's errors "reference to
// undefined schema" and "$ref was set alongside unsupported fields", as in
// google-gemini/gemini-cli#13326 and anomalyco/opencode#12295.
func Gemini() Rules {
	return Rules{Host: "Gemini", Name: 64, First: true, Flat: true, Properties: true, Items: true, Keywords: []string{
		"type", "format", "title", "description", "enum", "items", "prefixItems", "minItems", "maxItems", "minimum", "maximum",
		"anyOf", "oneOf", "properties", "additionalProperties", "required", "propertyOrdering"}}
}

// Of returns the rules of a provider by its name in the full names of models;
// false for one that has none.
func Of(provider string) (Rules, bool) {
	switch provider {
	case "openai":
		return OpenAI(), true
	case "openai-responses":
		return Responses(), true
	case "anthropic":
		return Anthropic(), true
	case "ollama":
		return Ollama(), true
	case "gemini":
		return Gemini(), true
	}
	return Rules{}, false
}

// Unfit returns the tools that a provider does not take, whatever their number,
// with the reason.
func (r Rules) Unfit(tools []events.ToolSpec) []events.OmittedTool {
	r.Tools = 0
	_, omitted := r.Fit(tools)
	return omitted
}

// Fit returns the tools as the provider takes them, in their order, and those
// that are left out with the reason. The tools given are not changed.
func (r Rules) Fit(tools []events.ToolSpec) (fit []events.ToolSpec, omitted []events.OmittedTool) {
	taken := map[string]bool{}
	for _, t := range tools {
		adapted, err := r.adapt(t)
		switch {
		case err != nil:
		case taken[t.Name]:
			err = fmt.Errorf("another tool of the request has its name")
		case r.Tools > 0 && len(fit) == r.Tools:
			err = fmt.Errorf("%s takes at most %d tools in a request: offer fewer", r.Host, r.Tools)
		default:
			taken[t.Name] = true
			fit = append(fit, adapted)
			continue
		}
		omitted = append(omitted, events.OmittedTool{Tool: t.Name, Server: t.Server, Reason: err.Error()})
	}
	return fit, omitted
}

// adapt returns one tool as the provider takes it.
func (r Rules) adapt(t events.ToolSpec) (events.ToolSpec, error) {
	if !wordOf(t.Name, "_-") {
		return t, fmt.Errorf("%s takes names of letters, digits, _ and -: rename it", r.Host)
	}
	if r.Name > 0 && len(t.Name) > r.Name {
		return t, fmt.Errorf("%s takes names of at most %d characters: rename it", r.Host, r.Name)
	}
	if c := t.Name[0]; r.First && (c == '-' || c >= '0' && c <= '9') {
		return t, fmt.Errorf("%s takes names that begin with a letter or _: rename it", r.Host)
	}
	s, err := r.schema(t.Schema)
	if err != nil {
		return t, err
	}
	for _, note := range s.notes {
		if t.Description != "" {
			t.Description += "\n\n"
		}
		t.Description += note
	}
	if rest := ""; r.Description > 0 {
		if t.Description, rest = split(t.Description, r.Description); rest != "" {
			s.describe(rest)
		}
	}
	t.Schema = s.encode()
	return t, nil
}

// wordOf reports whether a name has only letters and digits of ASCII, and the others
// that are given.
func wordOf(name, others string) bool {
	return name != "" && !strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(others, c)
	})
}

// split cuts a text after at most n characters, at a space where there is one
// in the last quarter.
func split(text string, n int) (head, rest string) {
	if utf8.RuneCountInString(text) <= n {
		return text, ""
	}
	end, space := 0, 0
	for count := 0; count < n-1; count++ { // one for the mark
		c, size := utf8.DecodeRuneInString(text[end:])
		if end += size; c == ' ' || c == '\n' {
			space = end
		}
	}
	if space > end*3/4 {
		end = space
	}
	return text[:end] + "…", "…" + text[end:]
}
