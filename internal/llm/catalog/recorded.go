package catalog

import (
	"encoding/json"
	"io"
	"iter"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
)

// Recorded yields the events of a provider's recorded body, numbered as a worker
// numbers them. An error of the provider is in the GenerationEnded.
func Recorded(provider string, body io.Reader) (iter.Seq[events.Event], error) {
	decode, err := Decoder(provider)
	if err != nil {
		return nil, err
	}
	return func(yield func(events.Event) bool) {
		index := 0
		for e := range decode(body) {
			if s, ok := e.(events.Stamped); ok {
				s.Stamp("", index)
				index++
			}
			if !yield(e) {
				return
			}
		}
	}, nil
}

// Answer is what a model answered. Its Usage has every count that the provider's
// protocol knows, nil where the provider did not say; it is nil without any.
type Answer struct {
	accumulator.Result
	Usage map[string]*int64 `json:"usage"`
}

// AnswerOf accumulates the events of [Recorded].
func AnswerOf(provider string, all iter.Seq[events.Event]) (Answer, error) {
	var g accumulator.Generation
	for e := range all {
		g.Apply(e)
	}
	a := Answer{Result: g.Result()}
	if a.Result.Usage == nil {
		return a, nil
	}
	raw, err := json.Marshal(a.Result.Usage)
	if err != nil {
		return a, err
	}
	a.Usage = map[string]*int64{}
	for _, key := range usageKeys(provider) {
		a.Usage[key] = nil
	}
	return a, json.Unmarshal(raw, &a.Usage)
}

// usageKeys are the counts that a provider's protocol knows, by their names in
// [events.Usage].
func usageKeys(provider string) []string {
	switch provider {
	case OpenAI, OpenAIResponses, Gemini:
		return []string{"input_tokens", "output_tokens", "total_tokens", "cached_input_tokens", "reasoning_tokens"}
	case Anthropic:
		return []string{"input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"}
	}
	return []string{"input_tokens", "output_tokens"}
}
