package events

import (
	"encoding/json"
	"testing"
)

// hot are the hand-written events, each field at its zero value and set.
func hot() []Event {
	o := Origin{Attempt: "01938a5c-7c1e-7000-8000-000000000001", Index: 12}
	es := []Event{
		&TextChunk{}, &ReasoningChunk{}, &ToolCallStart{}, &ToolCallDelta{}, &ToolCallEnd{}, &ToolOutput{},
		&TextChunk{Origin: o, Block: 3, Text: "no", Refusal: true},
		&ReasoningChunk{Origin: o, Block: 1, Text: "because", Summary: true, Carry: json.RawMessage(`{"signature":"Eq=="}`)},
		&ToolCallStart{Origin: o, Block: 2, Call: "c1", ProviderID: "call_0", Name: "read_file", Custom: true},
		&ToolCallDelta{Origin: o, Block: 2, Call: "c1", Arguments: `{"path":"a\b`},
		&ToolCallEnd{Origin: o, Block: 2, Call: "c1", Invalid: "cut", Carry: json.RawMessage(`"c2ln"`)},
		&ToolOutput{Call: "c1", Attempt: o.Attempt, Index: 4, Text: "3 tests passed\n"},
		&TextChunk{Origin: Origin{Index: -1}, Block: -2},
	}
	for _, s := range []string{
		`quote " and backslash \ and slash /`,
		"tab\t newline\n return\r backspace\b feed\f nul\x00 escape\x1b delete\x7f",
		"<script>&amp;</script>",
		"grüße 世界 🦜 \u2028 \u2029 \ufffd",
		"not UTF-8: \xff, cut: \xe4\xb8, surrogate: \xed\xa0\x80, overlong: \xc0\xaf",
		"\xe2\x80",
	} {
		es = append(es, &TextChunk{Text: s}, &ToolOutput{Call: s, Attempt: s, Text: s},
			&ToolCallStart{Call: s, ProviderID: s, Name: s}, &ToolCallEnd{Invalid: s})
	}
	for _, carry := range []string{
		`null`, `[]`, `"a b\" c\\"`, `{"a":[1,2.5e3,true]}`, "\"\u2028<&>\"", "\"\xff\"", `{}`, // copied
		`{"a": 1}`, " 1", "[1,\n2]", "1\t", // compacted
		`{`, `"open`, `{"a" 1}`, `\`, `tru`, ` `, // refused
	} {
		es = append(es, &ReasoningChunk{Carry: json.RawMessage(carry)}, &ToolCallEnd{Carry: json.RawMessage(carry)})
	}
	return es
}

func TestHandWrittenEventsEqualEncodingJSON(t *testing.T) {
	for _, e := range hot() {
		checkAppend(t, e)
	}
}

// checkAppend fails when the hand-written path differs from the general one.
func checkAppend(t *testing.T, e Event) {
	t.Helper()
	got, err := Append([]byte("before "), e)
	want, wantErr := appendSlow([]byte("before "), e)
	if string(got) != string(want) {
		t.Errorf("%#v:\n got %s\nwant %s", e, got, want)
	}
	if (err == nil) != (wantErr == nil) {
		t.Errorf("%#v: error %v, want %v", e, err, wantErr)
	}
}

func TestAJobIsWrittenAsTheGeneralPathWritesIt(t *testing.T) {
	whole := Part{Kind: PartCall, Text: "a<b\n", Summary: true, Call: "c", ProviderID: "p", Name: "n", Arguments: "{}", Custom: true,
		Invalid: "i", Status: "ok", Carry: json.RawMessage(`{"a":"}"}`)}
	for name, messages := range map[string][]Message{
		"without a transcript":    nil,
		"with an empty one":       {},
		"with every field":        {{Role: RoleAssistant, Parts: []Part{whole, whole}, By: "parley", Provider: "p", Model: "m", Omitted: OmitCarries}, {}},
		"with no parts":           {{Role: RoleUser}, {Role: RoleUser, Parts: []Part{}}},
		"with an image":           {{Parts: []Part{{Kind: PartImage, MIME: "image/png", Data: []byte("a")}}}},
		"with an object":          {{Parts: []Part{{Object: &Object{Name: "n"}}}}},
		"with attachments":        {{Parts: []Part{{Attachments: []Attachment{{}}}}}},
		"with space in a carry":   {{Parts: []Part{{Carry: json.RawMessage(`{ "a": 1 }`)}}}},
		"with a carry of no sort": {{Parts: []Part{{Carry: json.RawMessage(`{`)}}}},
	} {
		t.Run(name, func(t *testing.T) {
			e := &GenerationJob{Conversation: "c", System: `,"messages":null`, Messages: messages, Tools: []ToolSpec{{Name: "t", Schema: json.RawMessage(`{"a":1,"messages":null}`)}}}
			checkAppend(t, e)
			if raw, err := Append(nil, e); err == nil {
				checkHot(t, raw)
			}
		})
	}
	checkAppend(t, (*GenerationJob)(nil))
}

func TestAppendAllocatesNothingOnTheTokenPath(t *testing.T) {
	dst := make([]byte, 0, 4096)
	for _, e := range hot()[6:12] {
		n := testing.AllocsPerRun(100, func() {
			if _, err := Append(dst, e); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations, want none", e.Type(), n)
		}
	}
}

func TestAppend(t *testing.T) {
	for _, tc := range []struct {
		name  string
		event Event
		want  string
		err   string
	}{
		{name: "an unknown event is passed on as it came",
			event: &Unknown{Name: "Later", Raw: json.RawMessage(`{"type": "Later","x":1e2}`)}, want: `{"type": "Later","x":1e2}`},
		{name: "an unknown event cannot break the frame's lines",
			event: &Unknown{Name: "Later", Raw: json.RawMessage("{\"type\":\"Later\",\n\"x\":\"a b\"}")}, want: `{"type":"Later","x":"a b"}`},
		{name: "an unknown event of broken lines is refused",
			event: &Unknown{Name: "Later", Raw: json.RawMessage("{\n")}, err: "encode Later: unexpected end of JSON input"},
		{name: "an unknown event without bytes is refused",
			event: &Unknown{Name: "Later"}, err: "encode Later: an event of an unknown type has no bytes"},
		{name: "a missing event is refused",
			event: (*Paused)(nil), err: "encode Paused: the event is null, not an object"},
		{name: "an error names the event",
			event: &ToolJob{Arguments: json.RawMessage("{")},
			err:   "encode ToolJob: json: error calling MarshalJSON for type json.RawMessage: unexpected end of JSON input"},
		{name: "a decision holds its events as they came",
			event: &Decision{Events: []Line{
				{Raw: json.RawMessage(`{"type":"Resumed", "turn":"t","at_ms":7,"later":"<&>"}`)},
				{Event: &TextChunk{Text: "é<"}},
			}, State: State{Phase: PhasePaused}},
			want: `{"type":"Decision","events":[{"type":"Resumed","turn":"t","at_ms":7,"later":"<&>"},` +
				`{"type":"TextChunk","index":0,"text":"é<"}],"state":{"phase":"paused"}}`},
		{name: "a decision with an empty line is refused",
			event: &Decision{Events: []Line{{}}},
			err:   "encode Decision: json: error calling MarshalJSON for type events.Line: a line without an event cannot be encoded"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Append([]byte("-"), tc.event)
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Errorf("error %v, want %s", err, tc.err)
				}
				if string(got) != "-" {
					t.Errorf("dst is %q after an error, want it as it came", got)
				}
				return
			}
			if err != nil || string(got) != "-"+tc.want {
				t.Errorf("got %s, %v\nwant -%s", got, err, tc.want)
			}
		})
	}
}
