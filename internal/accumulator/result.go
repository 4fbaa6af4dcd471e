package accumulator

import (
	"github.com/parleybus/parley/internal/events"
)

// Result is an accumulated answer as one JSON object: what "parley decode
// --result" prints.
type Result struct {
	Text             string        `json:"text"`
	Reasoning        string        `json:"reasoning"`
	ReasoningSummary string        `json:"reasoning_summary,omitempty"`
	Refusal          string        `json:"refusal"`
	ToolCalls        []ResultCall  `json:"tool_calls"`
	FinishReason     *string       `json:"finish_reason"` // the provider's own word; null when there was none
	Usage            *events.Usage `json:"usage"`
	Error            *ResultError  `json:"error"`
	Terminated       bool          `json:"terminated"` // the provider's terminal sign was seen
}

// ResultCall is a call of a [Result]. Its id is the provider's.
type ResultCall struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"` // as the model wrote them
	Invalid   string `json:"invalid,omitempty"`
}

// ResultError is the provider's error. An answer that was merely cut has
// none: it has neither Terminated nor a FinishReason.
type ResultError struct {
	Class   events.ErrorClass `json:"class"`
	Message string            `json:"message"`
}

// Result returns the answer as a [Result].
func (g *Generation) Result() Result {
	r := Result{
		Text: g.Text(), Refusal: g.Refusal(), ToolCalls: []ResultCall{},
		Reasoning: g.Reasoning(false), ReasoningSummary: g.Reasoning(true),
	}
	for _, c := range g.Calls() {
		r.ToolCalls = append(r.ToolCalls, ResultCall{ID: c.ProviderID, Name: c.Name, Arguments: c.Arguments, Invalid: c.Invalid})
	}
	if end := g.Ended; end != nil {
		if end.FinishWord != "" {
			r.FinishReason = &end.FinishWord
		}
		r.Usage, r.Terminated = end.Usage, end.Terminated
		if end.Error != nil && end.Error.Class != events.ErrCut {
			r.Error = &ResultError{Class: end.Error.Class, Message: end.Error.Message}
		}
	}
	return r
}
