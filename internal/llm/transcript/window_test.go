package transcript

import "testing"

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
