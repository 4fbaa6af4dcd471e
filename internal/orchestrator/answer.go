package orchestrator

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
)

// checkAnswerSchema returns why a schema of answers cannot be used.
func (e *Env) checkAnswerSchema(schema json.RawMessage) error {
	if len(schema) == 0 {
		return nil
	}
	if err := policy.CheckAnswerSchema(schema); err != nil || e.CheckSchema == nil {
		return err
	}
	if err := e.CheckSchema(answerSpec(schema)); err != nil {
		return fmt.Errorf("answer_schema cannot be used: %w", err)
	}
	return nil
}

// answerSpec returns the answer in the form of a tool, whose arguments fit its schema.
func answerSpec(schema json.RawMessage) events.ToolSpec {
	return events.ToolSpec{Name: "answer", Schema: schema}
}

// misfit returns why a final answer does not fit the conversation's schema; empty if it
// does, or if there is none.
func (d *decision) misfit(text string) string {
	schema := d.env.Settings.AnswerSchema
	if len(schema) == 0 {
		return ""
	}
	if err := d.env.Check(answerSpec(schema), strings.TrimSpace(text)); err != nil {
		return strings.NewReplacer("arguments are", "the answer is", "arguments hold", "the answer holds", "arguments do", "the answer does", "arguments", "answer").Replace(err.Error())
	}
	return ""
}

// reject asks the model once more after an answer that does not fit, with the reason;
// the second time it ends the turn. It reports whether there may be more to decide.
func (d *decision) reject(generation, why string) bool {
	c := d.c
	if c.Rejected > 0 {
		d.end(events.OutcomeFailed, string(events.ErrInvalidAnswer), &events.Error{Class: events.ErrInvalidAnswer, Code: string(events.ErrInvalidAnswer),
			Message: fmt.Sprintf("the answer does not fit the conversation's schema, also when the model was asked again: %s: simplify the schema, or take another model", why)})
		return true
	}
	d.emit(&events.AnswerRejected{Turn: c.Turn, Generation: generation, Step: c.Step, Error: why})
	return d.step()
}
