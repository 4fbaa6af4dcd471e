package dialect

import (
	"regexp"
	"slices"
	"strconv"

	"github.com/parleybus/parley/internal/events"
)

// Blamed returns which of a request's tools a provider's refusal names, by
// position or by name, or how many tools it takes at most. It returns -1 for
// both if the refusal names neither.
//
// Known forms: "Invalid 'tools[3].function.description': …", "tools.12.custom.
// input_schema: …", "Invalid schema for function 'x': …", "array too long.
// Expected an array with maximum length 128", "function_declarations[44].…".
func Blamed(refusal string, tools []events.ToolSpec) (tool, most int) {
	// Gemini has one tool with all functions in it, so their position counts.
	for _, form := range []string{`\b(?:function_declarations|functionDeclarations)(?:\[|\.)(\d+)`, `\btools?(?:\[|\.)(\d+)`} {
		if found := regexp.MustCompile(form).FindStringSubmatch(refusal); found != nil {
			if tool = number(found[1]); tool >= 0 && tool < len(tools) {
				return tool, -1
			}
		}
	}
	if found := regexp.MustCompile(`(?is)\btools?\b.{0,120}\b(?:maximum|at most|max)\D{0,40}(\d+)`).FindStringSubmatch(refusal); found != nil {
		if most = number(found[1]); most > 0 && most < len(tools) {
			return -1, most
		}
	}
	for _, found := range regexp.MustCompile("(?i)\\b(?:tool|function)\\b[^'\"`]{0,40}['\"`]([A-Za-z0-9_-]{1,128})['\"`]").FindAllStringSubmatch(refusal, -1) {
		if at := slices.IndexFunc(tools, func(t events.ToolSpec) bool { return t.Name == found[1] }); at >= 0 {
			return at, -1
		}
	}
	return -1, -1
}

func number(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil {
		return -1
	}
	return n
}
