package orchestrator

import (
	"fmt"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/sealed"
)

// pauseForQuestions pauses for questions of tools that no Paused has listed
// yet. It reports whether there were any.
func (d *decision) pauseForQuestions() bool {
	var awaiting []events.Awaited
	for _, c := range d.c.Calls {
		if c.Waiting() && c.Waits == events.WaitAnswer && c.DeadlineMS == 0 {
			c.DeadlineMS = d.deadline(0)
			awaiting = append(awaiting, d.awaitedAnswer(c))
		}
	}
	if len(awaiting) > 0 {
		d.pause(awaiting, 0)
	}
	return len(awaiting) > 0
}

// awaitedAnswer returns a tool's question as Paused lists it.
func (d *decision) awaitedAnswer(c events.CallState) events.Awaited {
	a := events.Awaited{For: events.WaitAnswer, Call: c.Call, Question: c.Question, Tool: c.Tool, Digest: c.Digest, DeadlineMS: c.DeadlineMS}
	if q := d.transcript.Question(c.Question); q != nil {
		a.Arguments, a.Reason = q.Arguments(), q.Message
	}
	return a
}

// decline answers a question with declined.
func (d *decision) decline(c events.CallState, by string) {
	d.emit(&events.QuestionAnswered{Turn: d.c.Turn, Call: c.Call, Question: c.Question, Declined: true, By: by})
}

// reply answers a tool's question with a verdict.
func (d *decision) reply(v *verdict, call events.CallState) (events.Answer, string) {
	q := d.transcript.Question(call.Question)
	if q == nil {
		return events.AnswerInvalid, "the tool's question is no longer in the log: reject it"
	}
	a := &events.QuestionAnswered{Turn: d.c.Turn, Call: call.Call, Question: call.Question, By: v.input}
	switch {
	case v.Verdict.Verdict == events.RulingReject:
		a.Declined = true
	case v.Verdict.Verdict == events.RulingAnswer && q.Key != "":
		if answer, reason := secretAnswer(v); answer != "" {
			return answer, reason
		}
		a.Sealed = v.call.Sealed // the worker validates it
	case v.call.Sealed != "":
		return events.AnswerInvalid, "the tool still waits: its question has no key, so give content instead of sealed"
	case v.Verdict.Verdict == events.RulingAnswer && len(q.Schema) > 0:
		if err := d.env.Check(events.ToolSpec{Name: call.Tool, Schema: q.Schema}, v.call.Content); err != nil {
			return events.AnswerInvalid, fmt.Sprintf("the tool still waits: give content as JSON that is valid against its schema: %v", err)
		}
		a.Content = events.Arguments(v.call.Content)
	case v.Verdict.Verdict == events.RulingApprove && len(q.Schema) == 0:
	case v.Verdict.Verdict == events.RulingApprove && d.env.Check(events.ToolSpec{Name: call.Tool, Schema: q.Schema}, "{}") == nil:
		a.Content = events.Arguments("") // a yes is enough
	default:
		return events.AnswerNotAllowed, "the tool waits for an answer: use answer (approve for a yes-or-no question) or reject"
	}
	d.emit(a)
	return events.AnswerAccepted, ""
}

// secretAnswer returns the answer to a verdict on a question with secret fields,
// whose content cannot be read here; empty when it is valid.
func secretAnswer(v *verdict) (events.Answer, string) {
	if v.call.Content != "" {
		return events.AnswerSecretInClear, "the tool still waits: it asks for a secret, and the answer was not sealed for the question's key, so it is in the log in clear text: change the secret, delete the conversation to remove it, and give sealed instead of content"
	}
	if err := sealed.Check(v.call.Sealed); err != nil {
		return events.AnswerInvalid, "the tool still waits: sealed is not usable: " + err.Error()
	}
	return "", ""
}
