package orchestrator

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/tool"
)

const totalSchema = `{"type":"object","properties":{"total":{"type":"number"},"currency":{"enum":["EUR","NOK"]}},"required":["total"],"additionalProperties":false}`

// answering is a scene whose answers must fit a schema.
func answering(t *testing.T, schema string) *scene {
	s := newScene(t)
	s.env.CheckSchema = new(tool.Validator).Check
	if a := only[*events.InputAnswered](s.in(&events.Settings{ID: s.id(), AnswerSchema: json.RawMessage(schema)})); len(a) != 1 || a[0].Answer != events.AnswerAccepted {
		t.Fatalf("the schema was answered %+v", a)
	}
	return s
}

// TestAnAnswerMustFitTheSchema: what each answer in a row leads to. Between two answers
// another process takes over.
func TestAnAnswerMustFitTheSchema(t *testing.T) {
	const good = `{"total":3}`
	for _, c := range []struct {
		name     string
		answers  []string
		rejected string // why the first one was; empty if it was not
		reason   string // of the turn's end
	}{
		{"it fits", []string{good}, "", "stop"},
		{"it fits, with space around it", []string{"\n" + good + "\n"}, "", "stop"},
		{"a wrong type", []string{`{"total":"3"}`, good}, "answer.total: got string, want number", "stop"},
		{"a missing value", []string{`{"currency":"EUR"}`, good}, "total", "stop"},
		{"an unknown key", []string{`{"total":3,"tax":1}`, good}, "tax", "stop"},
		{"a text", []string{"The total is 3.", good}, "the answer is not valid JSON", "stop"},
		{"a fence", []string{"```json\n" + good + "\n```", good}, "JSON", "stop"},
		{"a list", []string{"[3]", good}, "object", "stop"},
		{"half an object", []string{`{"total":`, good}, "JSON", "stop"},
		{"two objects", []string{good + good, good}, "JSON", "stop"},
		{"the second does not fit either", []string{"3", `{"total":null}`}, "object", "invalid_answer"},
		{"nothing", []string{""}, "", "empty"},
		{"nothing after a misfit", []string{"3", ""}, "object", "empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := answering(t, totalSchema)
			s.say("what is the total?")
			for i, text := range c.answers {
				if s.state.Turn == "" {
					t.Fatalf("the turn ended before answer %d", i+1)
				}
				s.model(text)
				s.restart()
			}
			end := only[*events.TurnEnded](s.everything())
			if len(end) != 1 || end[0].Reason != c.reason || (end[0].Outcome == events.OutcomeCompleted) != (c.reason == "stop") {
				t.Fatalf("the turn ended as %s", written(s.everything()))
			}
			if c.reason == "invalid_answer" && (end[0].Outcome != events.OutcomeFailed || end[0].Error.Code != "invalid_answer" || !strings.Contains(end[0].Error.Message, "answer.total")) {
				t.Errorf("the turn failed with %+v", end[0].Error)
			}
			rejected := only[*events.AnswerRejected](s.everything())
			if len(rejected) > 1 || (len(rejected) == 1) != (c.rejected != "") {
				t.Fatalf("%d answers were rejected", len(rejected))
			}
			messages := s.state.Transcript.Messages()
			if len(rejected) == 1 {
				first := only[*events.AssistantMessage](s.everything())[0]
				if r := rejected[0]; !strings.Contains(r.Error, c.rejected) || r.Generation != first.Generation || r.Step != 1 || r.Turn != first.Turn {
					t.Errorf("rejected as %+v, want %q", rejected[0], c.rejected)
				}
				if m := messages[2]; m.Role != events.RoleUser || !strings.Contains(m.Parts[0].Text, rejected[0].Error) {
					t.Errorf("the model reads %+v", m)
				}
			}
			if s.state.Rejected != 0 {
				t.Errorf("the next turn begins with %d rejected answers", s.state.Rejected)
			}
		})
	}
}

// TestCallsNeedNotFitTheSchema: only an answer without calls is checked, and a step of
// calls does not give the model another try.
func TestCallsNeedNotFitTheSchema(t *testing.T) {
	s := answering(t, totalSchema)
	s.say("what is the total?")
	for range 2 {
		call := s.part("f", `{"x":1}`)
		s.model("I look it up.", call)
		s.restart()
		s.result(call.Call, events.StatusOK, "3")
		if s.state.Rejected == 0 {
			s.model("3")
			s.restart()
		}
	}
	if got := len(only[*events.AnswerRejected](s.everything())); got != 1 || s.state.Rejected != 1 || s.state.Turn == "" {
		t.Fatalf("%d answers were rejected: %s", got, written(s.everything()))
	}
	s.model("still 3")
	if end := only[*events.TurnEnded](s.everything()); len(end) != 1 || end[0].Reason != "invalid_answer" {
		t.Errorf("%s", written(s.everything()))
	}
}

// TestARejectedAnswerCountsInTheLimits: the second request is a step like any other.
func TestARejectedAnswerCountsInTheLimits(t *testing.T) {
	s := answering(t, totalSchema)
	s.env.Limits.Steps = 1
	s.say("what is the total?")
	s.model("3")
	if end := only[*events.TurnEnded](s.everything()); len(end) != 1 || end[0].Outcome != events.OutcomeLimit || end[0].Reason != "max_steps" {
		t.Errorf("%s", written(s.everything()))
	}
}

// TestSchemasOfAnswersAreChecked at the input, are replaced whole, keep their order and
// can be removed.
func TestSchemasOfAnswersAreChecked(t *testing.T) {
	s := answering(t, totalSchema)
	for schema, want := range map[string]string{
		`7`:                             "answer_schema is no JSON Schema",
		`[]`:                            "answer_schema is no JSON Schema",
		`{"type":"array"}`:              "answers are objects",
		`{"type":["object"]}`:           "answers are objects",
		`{"properties":7}`:              "answer_schema cannot be used",
		`{"$ref":"http://127.0.0.1/x"}`: "answer_schema cannot be used",
		`{"description":"` + strings.Repeat("x", 2<<20) + `"}`: "at most",
	} {
		a := only[*events.InputAnswered](s.in(&events.Settings{ID: s.id(), AnswerSchema: json.RawMessage(schema)}))
		if len(a) != 1 || a[0].Answer != events.AnswerInvalid || !strings.Contains(a[0].Reason, want) {
			t.Errorf("%.80s was answered %+v", schema, a)
		}
	}
	if got := string(s.state.Transcript.Settings.AnswerSchema); got != totalSchema {
		t.Errorf("the schema is now %s", got)
	}
	const other = `{"type":"object","properties":{"z":{"default":null},"a":{"const":null}}}`
	s.in(&events.Settings{ID: s.id(), System: "Be brief.", AnswerSchema: json.RawMessage(other)})
	s.in(&events.Settings{ID: s.id(), Route: "scripted/echo"})
	s.restart()
	if got := string(s.state.Transcript.Settings.AnswerSchema); got != other {
		t.Errorf("the schema is now %s; want the second one, as it was written", got)
	}
	s.in(&events.Settings{ID: s.id(), AnswerSchema: json.RawMessage("null")})
	s.say("hello")
	s.model("hi")
	if got := s.state.Transcript.Settings; got.AnswerSchema != nil || got.System != "Be brief." || len(only[*events.AnswerRejected](s.everything())) > 0 {
		t.Errorf("the settings are %+v", got)
	}
}
