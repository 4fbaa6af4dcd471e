package llm_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

func TestFallback(t *testing.T) {
	all := llm.Capabilities{Tools: true, StreamTools: true}
	tools := []events.ToolSpec{{Name: "add"}}
	refusal := func(class events.ErrorClass, message string) events.GenerationEnded {
		return events.GenerationEnded{Error: &events.Error{Class: class, Message: message}}
	}
	noStream := refusal(events.ErrUnsupported, "HTTP 400: tools are not supported in Streaming mode")
	cases := []struct {
		name   string
		can    llm.Capabilities
		req    llm.Request
		text   string                 // what a streamed answer says first
		stream events.GenerationEnded // how a streamed answer ends
		asked  []bool                 // Whole of each question
		class  events.ErrorClass
	}{
		{name: "a model that streams calls is streamed", can: all, req: llm.Request{Tools: tools}, asked: []bool{false}},
		{name: "a model without tools is not asked with tools", req: llm.Request{Tools: tools}, class: events.ErrUnsupported},
		{name: "a model without tools is asked without tools", asked: []bool{false}},
		{name: "a model that does not stream calls is asked for the whole", can: llm.Capabilities{Tools: true}, req: llm.Request{Tools: tools}, asked: []bool{true}},
		{name: "a model that does not stream calls streams without tools", can: llm.Capabilities{Tools: true}, asked: []bool{false}},
		{name: "a refusal to stream is asked again for the whole", can: all, req: llm.Request{Tools: tools}, stream: noStream, asked: []bool{false, true}},
		{name: "a refusal to stream is final if the budget of requests is spent", can: all, req: llm.Request{Tools: tools, Again: func() bool { return false }}, stream: noStream, asked: []bool{false}, class: events.ErrUnsupported},
		{name: "a refusal to stream without tools is final", can: all, stream: noStream, asked: []bool{false}, class: events.ErrUnsupported},
		{name: "a refusal after content is final", can: all, req: llm.Request{Tools: tools}, text: "x", stream: noStream, asked: []bool{false}, class: events.ErrUnsupported},
		{name: "a refusal of tools is final", can: all, req: llm.Request{Tools: tools}, stream: refusal(events.ErrUnsupported, "m does not support tools"), asked: []bool{false}, class: events.ErrUnsupported},
		{name: "another error is final", can: all, req: llm.Request{Tools: tools}, stream: refusal(events.ErrOverloaded, "stream: overloaded"), asked: []bool{false}, class: events.ErrOverloaded},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var asked []bool
			p := provider{can: c.can, answer: func(_ context.Context, req llm.Request, yield func(events.Event, error) bool) {
				asked = append(asked, req.Whole)
				w := llm.NewWriter(yield)
				end := events.GenerationEnded{Terminated: true}
				if !req.Whole {
					w.Text("0", c.text)
					end.Error = c.stream.Error
				}
				w.End(end)
			}}
			c.req.Model = "small"
			got := read(t, llm.Fallback(p).Stream(t.Context(), c.req))
			if !slices.Equal(asked, c.asked) {
				t.Errorf("asked for the whole: %v, want %v", asked, c.asked)
			}
			var class events.ErrorClass
			if got.end.Error != nil {
				class = got.end.Error.Class
			}
			if class != c.class {
				t.Errorf("the end is %v, want class %q", got.end.Error, c.class)
			}
		})
	}
}

// A model that refused to stream is not asked to again: each refusal would be a
// request that the step's budget does not know.
func TestFallbackRemembersARefusalToStream(t *testing.T) {
	var asked []bool
	p := llm.Fallback(provider{can: llm.Capabilities{Tools: true, StreamTools: true}, answer: func(_ context.Context, req llm.Request, yield func(events.Event, error) bool) {
		asked = append(asked, req.Whole)
		end := events.GenerationEnded{Terminated: true}
		if !req.Whole {
			end.Error = &events.Error{Class: events.ErrUnsupported, Message: "tools are not supported while streaming"}
		}
		llm.NewWriter(yield).End(end)
	}})
	for _, model := range []string{"a", "a", "b"} {
		read(t, p.Stream(t.Context(), llm.Request{Model: model, Tools: []events.ToolSpec{{Name: "add"}}}))
	}
	if want := []bool{false, true, true, false, true}; !slices.Equal(asked, want) {
		t.Errorf("asked for the whole: %v, want %v", asked, want)
	}
}

func TestFallbackErrorSaysWhatToDo(t *testing.T) {
	got := read(t, llm.Fallback(provider{}).Stream(t.Context(), llm.Request{Model: "small", Tools: []events.ToolSpec{{Name: "add"}}}))
	for _, words := range []string{"test/small", "choose a model", `["-"]`, "--tools none"} {
		if !strings.Contains(got.end.Error.Message, words) {
			t.Errorf("the message %q does not say %q", got.end.Error.Message, words)
		}
	}
}

func TestFallbackStopsWithItsConsumer(t *testing.T) {
	asked := 0
	p := provider{can: llm.Capabilities{Tools: true, StreamTools: true}, answer: func(_ context.Context, _ llm.Request, yield func(events.Event, error) bool) {
		asked++
		w := llm.NewWriter(yield)
		_ = w.Text("0", "a") && w.Text("0", "b")
		w.End(events.GenerationEnded{Terminated: true})
	}}
	n := 0
	for range llm.Fallback(p).Stream(t.Context(), llm.Request{Tools: []events.ToolSpec{{Name: "add"}}}) {
		n++
		break
	}
	if n != 1 || asked != 1 {
		t.Errorf("%d events of %d questions", n, asked)
	}
}
