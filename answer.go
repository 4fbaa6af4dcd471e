package parley

import (
	"encoding/json"
	"fmt"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/sealed"
)

// AnswerTo returns the decision of a [Verdict] of [RulingAnswer] on something that
// waits: content is the result of a call for the model, or what a tool asks for, as
// JSON. If the tool asks for a secret, the answer is sealed for the worker that
// asks, so that the log does not hold it in clear text. Answer by this function
// wherever a tool may ask: an answer that was published in clear text is refused
// ([AnswerSecretInClear]), but it is in the log.
func AnswerTo(a Awaited, content string) (CallVerdict, error) {
	v := CallVerdict{Call: a.Call, Digest: a.Digest, Content: content}
	var question struct{ Key string }
	if a.For != WaitAnswer || json.Unmarshal(a.Arguments, &question) != nil || question.Key == "" {
		return v, nil
	}
	if err := events.CheckArguments(content); err != nil {
		return CallVerdict{}, &Error{Code: CodeInvalid, Err: fmt.Errorf("answer call %s: the answer is no JSON object: it fits no question", a.Call)}
	}
	box, err := sealed.Seal(question.Key, events.Arguments(content))
	if err != nil {
		return CallVerdict{}, &Error{Code: CodeInvalid, Err: fmt.Errorf("answer call %s: %w", a.Call, err)}
	}
	v.Content, v.Sealed = "", box
	return v, nil
}
