package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/secret"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/topology"
	"github.com/parleybus/parley/internal/worker"
)

const hidden = "shop-key-5f2b90e17c"

// secretive runs a tool worker that knows a secret.
func (s *stage) secretive(name string, all ...tool.Tool) *worker.Tool {
	s.t.Helper()
	registry, err := tool.New(all...)
	s.done(err)
	secrets := &secret.Set{}
	secrets.Add(hidden)
	w := &worker.Tool{Bus: s.connect(nil), Name: name, Log: s.log(), Tools: registry, Secrets: secrets}
	s.run(w.Run)
	return w
}

// texts is everything on the lanes of a call, as JSON.
func (c *call) texts() string {
	c.t.Helper()
	out := c.lane
	out.Channel = events.ChannelOut
	raw, err := json.Marshal(append(c.events(c.lane), c.events(out)...))
	c.done(err)
	return string(raw)
}

// TestAToolThatTellsASecret: in its result, its output, its question, its description,
// each of its errors, and the dead letter of the last one.
func TestAToolThatTellsASecret(t *testing.T) {
	t.Parallel()
	s := newStage(t, topology.PresenceTTL)
	spec := func(name string) events.ToolSpec {
		return events.ToolSpec{Name: name, Description: "has " + hidden, Effect: events.EffectPure, Schema: json.RawMessage(`{"type":"object","title":"` + hidden + `"}`)}
	}
	tells := does{spec("tells"), func(_ context.Context, in tool.Input) (tool.Result, error) {
		in.Output("one " + hidden[:9])
		in.Output(hidden[9:] + " two " + hidden[:6])
		return tool.Result{Content: "it is " + hidden, Structured: json.RawMessage(`{"a":"` + hidden + `"}`),
			Attachments: []tool.Attachment{{Name: hidden + ".txt", MIME: "text/plain", Data: []byte("in a file: " + hidden)}}}, nil
	}}
	fails := does{spec("fails"), func(context.Context, tool.Input) (tool.Result, error) {
		return tool.Result{}, tool.Retry(errors.New("denied: "+hidden), time.Millisecond)
	}}
	crashes := does{spec("crashes"), func(context.Context, tool.Input) (tool.Result, error) { panic("with " + hidden) }}
	w := s.secretive("tools", tells, fails, crashes)

	c := s.request("tells", events.EffectPure, "{}").publish()
	r := await[*events.ToolResult](s, c.lane, soon)
	if r.Content != "it is [redacted]" || string(r.Structured) != `{"a":"[redacted]"}` || r.Attachments[0].Name != "[redacted].txt" {
		t.Errorf("the result is %+v", r)
	}
	if data, err := s.Objects().Get(t.Context(), r.Attachments[0].Object); err != nil || string(data) != "in a file: [redacted]" {
		t.Errorf("the file is %q, %v", data, err)
	}
	if all := c.texts(); strings.Contains(all, hidden) || strings.Contains(all, hidden[9:]) || !strings.Contains(all, `"one "`) || !strings.Contains(all, `[redacted] two `) || !strings.Contains(all, hidden[:6]) {
		t.Errorf("its lanes have %s", all)
	}
	c = s.request("crashes", events.EffectPure, "{}").publish()
	if r := await[*events.ToolResult](s, c.lane, soon); r.Content != "the tool crashes broke down: with [redacted]" || r.Status != events.StatusCrashed {
		t.Errorf("the result is %+v", r)
	}
	c = s.request("fails", events.EffectPure, "{}").publish()
	if r := await[*events.ToolResult](s, c.lane, soon); !strings.HasSuffix(r.Content, "denied: [redacted]") {
		t.Errorf("the result is %+v", r)
	}
	if why := s.deadLetter(c.subject); !strings.Contains(why, "denied: [redacted]") {
		t.Errorf("the reason of the dead letter is %q", why)
	}
	if all := c.texts(); strings.Contains(all, hidden) || strings.Count(all, "ToolReleased") == 0 && !strings.Contains(all, "denied: [redacted]") {
		t.Errorf("the lane has %s", all)
	}
	for _, o := range w.Offers() {
		if raw, err := json.Marshal(o); err != nil || strings.Contains(string(raw), hidden) || !strings.Contains(string(raw), "has [redacted]") {
			t.Errorf("the offer is %s, %v", raw, err)
		}
	}
}

// teller is a provider that says the same each time.
type teller []events.Event

func (teller) Name() string                         { return "teller" }
func (teller) Capabilities(string) llm.Capabilities { return llm.Capabilities{} }
func (s teller) Stream(context.Context, llm.Request) llm.Stream {
	return func(yield func(events.Event, error) bool) {
		for _, e := range s {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// TestAModelThatTellsASecret: cut over chunks, in several blocks, in a call's name and
// arguments, and in what the provider wants back.
func TestAModelThatTellsASecret(t *testing.T) {
	t.Parallel()
	s := newStage(t, topology.PresenceTTL)
	secrets := &secret.Set{}
	secrets.Add(hidden)
	carry := json.RawMessage(`{"signature":"` + hidden + `"}`)
	said := []events.Event{
		&events.ReasoningChunk{Text: "r " + hidden[:12]}, &events.ReasoningChunk{Text: hidden[12:] + " r"}, &events.ReasoningChunk{Carry: carry},
		&events.TextChunk{Block: 1, Text: "t " + hidden[:8]}, &events.TextChunk{Block: 1, Text: hidden[8:16]}, &events.TextChunk{Block: 1, Text: hidden[16:]},
		&events.TextChunk{Block: 2, Text: "cut " + hidden[:10]},
		&events.ToolCallStart{Block: 3, Name: hidden, ProviderID: hidden}, &events.ToolCallDelta{Block: 3, Arguments: `{"k":"` + hidden[:7]},
		&events.ToolCallDelta{Block: 3, Arguments: hidden[7:] + `"}`}, &events.ToolCallEnd{Block: 3, Carry: carry},
		&events.TextChunk{Block: 4, Text: "end " + hidden[:9]},
		&events.GenerationEnded{Finish: events.FinishStop, FinishWord: "stop", Terminated: true, Model: hidden, ResponseID: hidden,
			Error: &events.Error{Class: events.ErrInvalidRequest, Message: "get http://u:pw@h/: " + hidden, Code: hidden}},
	}
	w := &worker.LLM{Bus: s.connect(nil), Name: "models", Log: s.log(), Routes: map[string]worker.Route{"test": {Provider: teller(said), Model: "m"}}, Secrets: secrets}
	s.run(w.Run)
	c := s.chat()
	s.queue(topology.LLMQueue("test"))
	s.publish(c.request())
	end := await[*events.GenerationEnded](s, c.lane(events.ChannelGen), soon)
	if e := end.Error; e.Message != "get http://[redacted]@h/: [redacted]" || e.Code != "[redacted]" || end.Model != "[redacted]" || end.ResponseID != "[redacted]" {
		t.Errorf("the end is %+v, %+v", end, e)
	}
	all := s.events(c.lane(events.ChannelGen))
	texts, last := map[string]string{}, -1
	for _, e := range all {
		if stamped, ok := e.(events.Stamped); ok {
			if _, index := stamped.Position(); index != last+1 {
				t.Errorf("the index %d follows %d", index, last)
			} else {
				last = index
			}
		}
		switch e := e.(type) {
		case *events.TextChunk:
			texts[fmt.Sprint(e.Block)] += e.Text
		case *events.ReasoningChunk:
			texts["r"] += e.Text + string(e.Carry)
		case *events.ToolCallDelta:
			texts["a"] += e.Arguments
		}
	}
	for block, want := range map[string]string{"r": `r [redacted] r{"signature":"[redacted]"}`, "1": "t [redacted]", "2": "cut " + hidden[:10], "a": `{"k":"[redacted]"}`, "4": "end " + hidden[:9]} {
		if texts[block] != want {
			t.Errorf("block %s is %q, want %q", block, texts[block], want)
		}
	}
	if raw, err := json.Marshal(all); err != nil || strings.Contains(string(raw), hidden) || end.EventCount != len(all) {
		t.Errorf("the lane has %s, %v", raw, err)
	}
}
