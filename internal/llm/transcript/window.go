package transcript

import (
	"regexp"
	"strconv"
	"strings"
)

// windows returns the tokens that models take, by the beginning of their names; the
// longest match counts. A model that is not here has no known window; what a refusal
// names counts before this table.
func windows() map[string]int64 {
	return map[string]int64{
		"gpt-5": 400_000, "gpt-4.1": 1_047_576, "gpt-4o": 128_000, "gpt-4-turbo": 128_000, "gpt-4": 8_192, "gpt-3.5-turbo": 16_385,
		"o1": 200_000, "o3": 200_000, "o4-mini": 200_000, "gpt-oss": 131_072,
		"claude-":  200_000,
		"gemini-2": 1_048_576, "gemini-3": 1_048_576,
		"deepseek-": 128_000, "mistral-large": 131_072, "mistral-small": 131_072,
	}
}

// Window returns the tokens that a model takes, its answer included; 0 when it is not
// known. Gateways put the maker's name before the model's.
func Window(model string) int64 {
	model = strings.ToLower(model[strings.LastIndexByte(model, '/')+1:])
	longest, tokens := 0, int64(0)
	for name, n := range windows() {
		if strings.HasPrefix(model, name) && len(name) > longest {
			longest, tokens = len(name), n
		}
	}
	return tokens
}

// saysWindow returns the ways in which providers name a window when they refuse a request
// for its length.
func saysWindow() []string {
	return []string{
		`(?i)maximum context length[^0-9]{0,12}([0-9][0-9,_]*)`,
		`(?i)[0-9][0-9,_]* tokens > ([0-9][0-9,_]*) maximum`,
		`(?i)maximum number of tokens[^0-9]{0,20}([0-9][0-9,_]*)`,
		`(?i)"?n_ctx"?[:= ]{1,3}([0-9][0-9,_]*)`,
		`(?i)context (?:window|length|size|limit)(?: is| of|[ :=(])*([0-9][0-9,_]*)`,
		`(?i)(?:limit|maximum) (?:is|of) ([0-9][0-9,_]*) tokens`,
	}
}

// The bounds of a window that a refusal may name: other numbers are something else.
const (
	smallestWindow = 512
	largestWindow  = 100_000_000
)

// WindowIn returns the window that a refusal names; 0 when it names none.
func WindowIn(refusal string) int64 {
	for _, says := range saysWindow() {
		m := regexp.MustCompile(says).FindStringSubmatch(refusal)
		if m == nil {
			continue
		}
		n, err := strconv.ParseInt(strings.NewReplacer(",", "", "_", "").Replace(m[1]), 10, 64)
		if err == nil && n >= smallestWindow && n <= largestWindow {
			return n
		}
	}
	return 0
}
