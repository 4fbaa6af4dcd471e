package llm_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

const sumSchema = `{"type":"object","properties":{"sum":{"type":"number"}}}`

// TestASchemaIsAskedForAsTheModelCan: what the provider gets, by what the model can do.
func TestASchemaIsAskedForAsTheModelCan(t *testing.T) {
	for _, c := range []struct {
		name  string
		can   llm.Capabilities
		tools []string
		given string // tool_choice
		want  string // schema, tools, tool_choice, system
	}{
		{"its own mode", llm.Capabilities{Tools: true, Schema: true, SchemaTools: true}, nil, "", "schema [] "},
		{"its own mode beside tools", llm.Capabilities{Tools: true, Schema: true, SchemaTools: true}, []string{"f"}, "auto", "schema [f] auto"},
		{"its own mode without tools only", llm.Capabilities{Tools: true, Schema: true}, nil, "", "schema [] "},
		{"a tool beside tools", llm.Capabilities{Tools: true, Schema: true}, []string{"f"}, "", "[f final_answer] required"},
		{"a tool", llm.Capabilities{Tools: true}, nil, "", "[final_answer] required"},
		{"a tool and no other call", llm.Capabilities{Tools: true}, []string{"f"}, "none", "[f final_answer] final_answer"},
		{"a tool and a forced call", llm.Capabilities{Tools: true}, []string{"f"}, "f", "[f final_answer] f"},
		{"a text", llm.Capabilities{}, nil, "", "[] text"},
		{"a text, because the name is taken", llm.Capabilities{Tools: true}, []string{"final_answer"}, "auto", "[final_answer] autotext"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got string
			p := llm.Lenient(provider{can: c.can, answer: func(_ context.Context, req llm.Request, yield func(events.Event, error) bool) {
				if len(req.Schema) > 0 {
					got = "schema "
				}
				var names []string
				for _, spec := range req.Tools {
					names = append(names, spec.Name)
				}
				got += fmt.Sprint(names) + " " + req.Parameters.ToolChoice
				if strings.HasSuffix(req.System, sumSchema) && strings.HasPrefix(req.System, "Be brief.\n\n") {
					got += "text"
				}
				llm.NewWriter(yield).End(events.GenerationEnded{Terminated: true})
			}})
			req := llm.Request{Model: "m", System: "Be brief.", Schema: json.RawMessage(sumSchema), Parameters: events.Parameters{ToolChoice: c.given}}
			for _, name := range c.tools {
				req.Tools = append(req.Tools, events.ToolSpec{Name: name})
			}
			if end := read(t, p.Stream(t.Context(), req)).end; got != c.want || end.OmittedParameters != nil {
				t.Errorf("the provider got %q, want %q; the end is %+v", got, c.want, end)
			}
		})
	}
}

// TestTheAnswersToolIsHidden: its arguments are the text, also in pieces, and nothing else
// is.
func TestTheAnswersToolIsHidden(t *testing.T) {
	for _, c := range []struct {
		name  string
		write func(w *llm.Writer)
		want  string // events; text as t, reasoning as r
		end   events.Finish
	}{
		{"the call", func(w *llm.Writer) {
			w.CallStart("0", "id", "final_answer", false)
			w.CallDelta("0", `{"sum"`)
			w.CallDelta("0", `:3}`)
			w.CallEnd("0")
		}, `t{"sum" t:3}`, events.FinishStop},
		{"a text before and after", func(w *llm.Writer) {
			w.Text("0", "So")
			w.CallStart("1", "id", "final_answer", false)
			w.CallDelta("1", `{}`)
			w.CallEnd("1")
			w.Text("2", "done")
		}, `rSo t{} rdone`, events.FinishStop},
		{"a text only", func(w *llm.Writer) { w.Reasoning("0", "hm", false, nil); w.Text("1", "{}") }, `rhm t{}`, events.FinishToolCalls},
		{"another tool", func(w *llm.Writer) {
			w.Text("0", "I look")
			w.CallStart("1", "id", "f", false)
			w.CallDelta("1", `{}`)
			w.CallEnd("1")
		}, `tI_look f {} end`, events.FinishToolCalls},
		{"two answers", func(w *llm.Writer) {
			for _, key := range []string{"0", "1"} {
				w.CallStart(key, key, "final_answer", false)
				w.CallDelta(key, `{"sum":`+key+`}`)
				w.CallEnd(key)
			}
		}, `t{"sum":0} r{"sum":1}`, events.FinishStop},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := llm.Lenient(provider{can: llm.Capabilities{Tools: true}, answer: func(_ context.Context, _ llm.Request, yield func(events.Event, error) bool) {
				w := llm.NewWriter(yield)
				c.write(w)
				w.End(events.GenerationEnded{Finish: events.FinishToolCalls, Terminated: true})
			}})
			var got []string
			for e, err := range p.Stream(t.Context(), llm.Request{Model: "m", Schema: json.RawMessage(sumSchema)}) {
				if err != nil {
					t.Error(err)
				}
				switch e := e.(type) {
				case *events.TextChunk:
					got = append(got, "t"+strings.ReplaceAll(e.Text, " ", "_"))
				case *events.ReasoningChunk:
					got = append(got, "r"+e.Text)
				case *events.ToolCallStart:
					got = append(got, e.Name)
				case *events.ToolCallDelta:
					got = append(got, e.Arguments)
				case *events.ToolCallEnd:
					got = append(got, "end")
				case *events.GenerationEnded:
					if e.Finish != c.end {
						t.Errorf("it finished as %s", e.Finish)
					}
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("it yields %q, want %s", got, c.want)
			}
		})
	}
}

// TestARefusedSchemaIsAskedForByATool: in the words of hosts; whether other schemas are
// asked for in the same way from then on.
func TestARefusedSchemaIsAskedForByATool(t *testing.T) {
	for _, c := range []struct {
		body  string
		every bool
	}{
		{`{"error":{"message":"Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.","param":"response_format"}}`, true},
		{`{"error":{"message":"This response_format type is unavailable now","type":"invalid_request_error"}}`, true},
		{`{"error":{"message":"json mode cannot be combined with tool/function calling","type":"invalid_request_error"}}`, true},
		{`{"error":{"message":"Invalid schema for response_format 'answer': In context=(), 'additionalProperties' is required to be supplied and to be false.","code":"invalid_json_schema"}}`, false},
		{`{"type":"error","error":{"type":"invalid_request_error","message":"output_config.format.schema: For 'array' type, property 'maxItems' is not supported"}}`, false},
		{`{"error":{"code":400,"message":"Function calling with a response mime type: 'application/json' is unsupported","status":"INVALID_ARGUMENT"}}`, true},
		{`{"error":"invalid JSON schema in format"}`, false},
	} {
		var asked []bool
		refusal := llm.FromHTTP(400, nil, []byte(c.body))
		p := llm.Lenient(provider{can: llm.Capabilities{Tools: true, Schema: true, SchemaTools: true}, answer: func(_ context.Context, req llm.Request, yield func(events.Event, error) bool) {
			asked = append(asked, len(req.Schema) > 0)
			w := llm.NewWriter(yield)
			if len(req.Schema) > 0 {
				w.End(events.GenerationEnded{Error: refusal})
				return
			}
			w.Text("0", "{}")
			w.End(events.GenerationEnded{Terminated: true})
		}})
		req := llm.Request{Model: "m", Schema: json.RawMessage(sumSchema)}
		for range 2 {
			if got := read(t, p.Stream(t.Context(), req)); got.end.Error != nil || len(got.end.OmittedParameters) != 1 || got.end.OmittedParameters[0].Parameter != "answer_schema" {
				t.Errorf("%s: %+v", c.body, got.end)
			}
		}
		req.Schema = json.RawMessage(`{}`)
		read(t, p.Stream(t.Context(), req))
		want := []bool{true, false, false, true, false}
		if c.every {
			want = []bool{true, false, false, false}
		}
		if !slices.Equal(asked, want) {
			t.Errorf("%s: by the own mode: %v, want %v", c.body, asked, want)
		}
	}
}
