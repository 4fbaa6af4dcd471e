package gemini

import (
	"strconv"
	"strings"
)

// thinkingConfig requests reasoning. Level and budget exclude each other.
type thinkingConfig struct {
	IncludeThoughts bool   `json:"includeThoughts,omitempty"`
	Level           string `json:"thinkingLevel,omitempty"`
	Budget          int64  `json:"thinkingBudget,omitempty"`
}

// think returns how a model is asked for reasoning: models before Gemini 3 take a
// budget, later ones a level. Without an effort, models that think by default are asked
// for summaries of it, which they hide otherwise. Levels and budgets are those of
// Google's own table for OpenAI's efforts.
//
// Sources: https://ai.google.dev/gemini-api/docs/thinking and
// https://ai.google.dev/gemini-api/docs/openai
func think(model, effort string) *thinkingConfig {
	major, minor, known := version(model)
	t := &thinkingConfig{IncludeThoughts: true}
	switch effort { // to Google's words
	case "none":
		effort = "minimal"
	case "xhigh", "max":
		effort = "high"
	case "default":
		effort = ""
	}
	switch {
	case effort == "" && !thinks(model):
		return nil
	case effort == "":
		return t
	case known && major < 3:
		budgets := map[string]int64{"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
		t.Budget = budgets[effort]
		return t
	}
	t.Level = effort
	if strings.Contains(model, "-pro") {
		switch {
		case effort == "minimal":
			t.Level = "low" // models named pro cannot think less
		case effort == "medium" && major == 3 && minor == 0 && known:
			t.Level = "high"
		}
	}
	return t
}

// thinks reports whether a model thinks by default.
func thinks(model string) bool {
	major, minor, known := version(model)
	if !strings.Contains(model, "gemini-") || known && (major < 2 || major == 2 && minor < 5) {
		return false
	}
	for _, kind := range []string{"image", "tts", "audio", "live", "embedding"} {
		if strings.Contains(model, "-"+kind) {
			return false
		}
	}
	return true
}

// signs reports whether a model demands a thought signature in calls: Gemini 3 and
// later do. A name without a version is that of the newest model.
func signs(model string) bool {
	major, _, known := version(model)
	return strings.Contains(model, "gemini-") && (!known || major >= 3)
}

// version returns the version in the name of a Gemini model: "gemini-2.5-flash",
// "models/gemini-3-pro-preview". "gemini-flash-latest" has none.
func version(model string) (major, minor int, known bool) {
	_, name, ok := strings.Cut(model, "gemini-")
	if !ok {
		return 0, 0, false
	}
	number, _, _ := strings.Cut(name, "-")
	first, second, _ := strings.Cut(number, ".")
	major, err := strconv.Atoi(first)
	if err != nil {
		return 0, 0, false
	}
	if minor, err = strconv.Atoi(second); err != nil {
		minor = 0
	}
	return major, minor, true
}
