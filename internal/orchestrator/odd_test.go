package orchestrator

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/schemas"
)

// odds is something that no program of ours writes: words that no schema has,
// events without ids, bytes that cannot be read at all.
func (w *walk) odds() (events.Channel, string, events.Event) {
	call := w.id("6")
	if len(w.calls) > 0 {
		call = w.calls[w.pick(len(w.calls))]
	}
	if a := w.lane; a != nil && !a.ended && choose(w, false, true) {
		switch w.pick(4) {
		case 0:
			return events.ChannelGen, "", &events.TextChunk{Text: "unasked"}
		case 1:
			e := &events.ToolCallStart{Block: 90, Name: "f"}
			e.Stamp(a.id, a.index)
			a.index++
			return events.ChannelGen, "", e
		default:
			a.ended = true
			e := &events.GenerationEnded{Generation: a.generation, Finish: "exhausted", Terminated: true, EventCount: choose(w, 0, a.index+1, a.index+9)}
			if choose(w, false, true) {
				e.Error = &events.Error{Class: "bad_hair_day", Message: "no", RetryAfterMS: choose(w, int64(-1), 1<<62)}
			}
			e.Stamp(a.id, a.index)
			return events.ChannelGen, "", e
		}
	}
	if choose(w, false, true) {
		w.append(accumulator.Message{Channel: choose(w, events.ChannelGen, events.ChannelCall, events.ChannelIn), Call: call, Bad: errors.New("no JSON"), ID: w.id("7")})
	}
	if choose(w, false, true) {
		return events.ChannelIn, "", &events.Settings{ID: w.id("1"), Priority: choose(w, events.Priority("urgent"), ""), WhileRunning: "later",
			Hooks: []events.Hook{{Name: "h", When: "sometimes"}}, Limits: events.Limits{OnLimit: "shrug"}, Policy: &events.Policy{Rules: []events.Rule{{Effect: "mild", Action: "auto"}}}}
	}
	return events.ChannelCall, call, &events.ToolResult{Call: call, Attempt: w.attempts[call], Status: choose(w, events.Status("splendid"), events.StatusOK), Content: "odd",
		Attachments: []events.Attachment{{Name: "nowhere"}}}
}

// jobOf is the job of a generation.
func jobOf(w *walk, r *events.GenerationRequested) *events.GenerationJob {
	job := &events.GenerationJob{Turn: r.Turn, Generation: r.Generation, Step: r.Step, Route: r.Route, Messages: w.state.Transcript.Messages(), Parameters: w.env.Settings.Parameters}
	for _, spec := range w.env.Tools {
		job.Tools = append(job.Tools, classed(spec))
	}
	return job
}

// validator knows the schemas of the contract.
type validator map[string]*jsonschema.Schema

func (v validator) check(t *rapid.T, e events.Event) {
	s := v[e.Type()]
	if s == nil {
		raw, _ := schemas.Lookup(e.Type())
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		c := jsonschema.NewCompiler()
		if err == nil {
			err = c.AddResource(e.Type(), doc)
		}
		if err == nil {
			s, err = c.Compile(e.Type())
		}
		if err != nil {
			t.Fatal(err)
		}
		v[e.Type()] = s
	}
	raw, err := events.Append(nil, e)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err == nil {
		err = s.Validate(doc)
	}
	if err != nil {
		t.Fatalf("what we write does not match our schema: %v\n%s", err, raw)
	}
}

// TestWhatWeDecideFollowsOurSchemasWhateverOthersWrite also holds what
// [TestAnyConversation] shows of logs in which nobody breaks the contract.
func TestWhatWeDecideFollowsOurSchemasWhateverOthersWrite(t *testing.T) {
	valid := validator{}
	rapid.Check(t, func(t *rapid.T) {
		w := newWalk(t)
		w.odd = true
		w.env.Tools["g"] = events.ToolSpec{Name: "g", Effect: "mild"}
		w.check = func(d *events.Decision) {
			valid.check(t, d)
			for _, l := range d.Events {
				valid.check(t, l.Event)
				if r, ok := l.Event.(*events.GenerationRequested); ok {
					valid.check(t, jobOf(w, r))
				}
			}
		}
		anyConversation(t, w)
	})
}

func TestMergedSettingsMergedAgainChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		field := rapid.SampledFrom([]string{`"route":"a/b"`, `"route":"c/d"`, `"route":null`, `"system":"x"`, `"system":null`,
			`"limits":{"steps":3}`, `"limits":{"steps":null,"tokens":4}`, `"limits":null`, `"policy":{"rules":[{"action":"auto"}]}`, `"policy":null`})
		var fields accumulator.Document
		var settings events.Settings
		for range rapid.IntRange(1, 8).Draw(t, "patches") {
			f := field.Draw(t, "field")
			next, merged, err := fields.Merge(accumulator.Input{Raw: json.RawMessage(`{"type":"Settings","id":"s",` + f + `}`)})
			if err != nil {
				t.Fatal(err)
			}
			fields, settings = next, merged
			text, err := json.Marshal(fields)
			if err != nil {
				t.Fatal(err)
			}
			_, again, err := fields.Merge(accumulator.Input{Raw: text})
			if err != nil || written([]events.Event{&again}) != written([]events.Event{&settings}) {
				t.Fatalf("%s merged into itself is %s (%v)", text, written([]events.Event{&again}), err)
			}
		}
	})
}
