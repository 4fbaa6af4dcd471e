package catalog_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/catalog"
)

// answer is an answer of an OpenAI-compatible server, with a count that it does not
// report left out.
const answer = `data: {"id":"1","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"}}]}

data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

data: {"id":"1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}

data: [DONE]

`

func TestARecordedBodyIsNumberedEvents(t *testing.T) {
	all, err := catalog.Recorded(catalog.OpenAI, strings.NewReader(answer))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for e := range all {
		if chunk, ok := e.(*events.TextChunk); ok {
			got = append(got, fmt.Sprintf("%s %d", chunk.Text, chunk.Index))
		}
		if end, ok := e.(*events.GenerationEnded); ok {
			got = append(got, "end "+string(end.Finish))
		}
	}
	if strings.Join(got, ", ") != "Hi 0, end stop" {
		t.Errorf("the events are %q", got)
	}
	if _, err := catalog.Recorded("cohere", strings.NewReader("")); err == nil || !strings.Contains(err.Error(), "no decoder for provider") {
		t.Errorf("of a provider without a decoder: %v", err)
	}
}

func TestAnAnswerHasEveryCountOfItsProtocol(t *testing.T) {
	for body, want := range map[string]string{
		answer:           `{"cached_input_tokens":null,"input_tokens":3,"output_tokens":1,"reasoning_tokens":null,"total_tokens":4}`,
		"no body at all": `null`,
	} {
		all, err := catalog.Recorded(catalog.OpenAI, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		a, err := catalog.AnswerOf(catalog.OpenAI, all)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(a.Usage); err != nil || string(got) != want {
			t.Errorf("the usage is %s, want %s (%v)", got, want, err)
		}
	}
}
