package orchestrator

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
)

// unanswered returns why the last answer of a turn, although it is complete, does not
// answer: a filter stopped it, the model refused, or it has no text. nil if it does.
// Such a turn has failed for whoever waits for its answer; what the model wrote is
// kept.
func unanswered(g *accumulator.Generation, end *events.GenerationEnded) *events.Error {
	refusal := strings.TrimSpace(g.Refusal())
	switch {
	case refusal != "":
		return &events.Error{Class: events.ErrContentFilter, Code: end.FinishWord,
			Message: fmt.Sprintf("the model refuses to answer: %.500s", refusal)}
	case end.Finish == events.FinishContentFilter:
		return &events.Error{Class: events.ErrContentFilter, Code: end.FinishWord,
			Message: fmt.Sprintf("the provider's filter stopped the answer (finish reason %q): change the message, or take another model", cmp.Or(end.FinishWord, string(end.Finish)))}
	case strings.TrimSpace(g.Text()) != "":
		return nil
	}
	why := "the model wrote nothing"
	if g.Reasoning(false)+g.Reasoning(true) != "" {
		why = "the model wrote only reasoning and no answer"
	}
	advice := "send the message again, or take another model"
	if end.Finish == events.FinishLength {
		advice = "it reached its limit of tokens: raise max_tokens, or lower the reasoning effort"
	}
	return &events.Error{Class: events.ErrEmpty, Code: end.FinishWord, Message: why + ": " + advice}
}
