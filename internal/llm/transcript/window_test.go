package transcript

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// TestAdviceNamesWhatHelps: a compaction leaves nothing out of one turn.
func TestAdviceNamesWhatHelps(t *testing.T) {
	rejected := user("Your answer was rejected")
	rejected.By = events.ByParley
	offered := []events.ToolSpec{{Name: "f"}}
	for _, c := range []struct {
		name  string
		req   llm.Request
		says  string
		never string
	}{
		{"two turns", llm.Request{Messages: []events.Message{user("1"), by("p/m", text("A")), user("2")}}, "parley compact CONVERSATION", "shorter message"},
		{"two turns, the first without an answer", llm.Request{Messages: []events.Message{user("1"), user("2")}}, "parley compact CONVERSATION", "shorter message"},
		{"a message", llm.Request{Messages: []events.Message{user("1")}}, "send a shorter message, or choose", "compact"},
		{"a message with tools", llm.Request{Messages: []events.Message{user("1")}, Tools: offered}, "send a shorter message, offer fewer tools", "compact"},
		{"a file", llm.Request{Messages: []events.Message{users(fileOf("f", "text"))}}, "attach smaller or fewer files", "tools"},
		{"a result", llm.Request{Messages: []events.Message{user("1"), by("p/m", call("x")), result("x")}, Tools: offered}, "ask for less at once", "compact"},
		{"an answer that was rejected", llm.Request{Messages: []events.Message{user("1"), by("p/m", text("A")), rejected}}, "send a shorter message", "compact"},
	} {
		e := &events.Error{Class: events.ErrContextLength, Message: "prompt is too long."}
		got := Advise(e, c.req).Message
		if !strings.HasPrefix(got, "prompt is too long: ") || !strings.Contains(got, c.says) || !strings.Contains(got, "choose a model with a larger window") || strings.Contains(got, c.never) {
			t.Errorf("%s: %q; want %q and not %q", c.name, got, c.says, c.never)
		}
	}
}

func TestARefusalNamesTheWindow(t *testing.T) {
	for _, c := range []struct {
		says string
		want int64
	}{
		{"This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.", 8192},
		{"This endpoint's maximum context length is 128,000 tokens. However, you requested about 130000 tokens", 128_000},
		{"prompt is too long: 210000 tokens > 200000 maximum", 200_000},
		{"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", 1_048_576},
		{`{"error":{"message":"the request exceeds the available context size","n_prompt_tokens":5000,"n_ctx":4096}}`, 4096},
		{"request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it", 4096},
		{"Your input exceeds the context window of this model. Please adjust your input and try again.", 0},
		{"prompt is too long: 2 tokens > 1 maximum", 0}, // no window is that small
		{"input is too long for requested model", 0},
		{"", 0},
	} {
		if got := WindowIn(c.says); got != c.want {
			t.Errorf("%q names %d; want %d", c.says, got, c.want)
		}
	}
}

func TestTheLongestNameOfAModelCounts(t *testing.T) {
	for model, want := range map[string]int64{
		"gpt-4": 8_192, "gpt-4o-mini": 128_000, "gpt-4.1-nano": 1_047_576, "claude-sonnet-4-5": 200_000,
		"anthropic/claude-opus-4.1": 200_000, "GPT-5-mini": 400_000, "llama3.2": 0, "": 0,
	} {
		if got := Window(model); got != want {
			t.Errorf("%q takes %d tokens; want %d", model, got, want)
		}
	}
}
