package events

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"
)

// FuzzAppend holds the hand-written encoders against encoding/json, and the
// fast decoder against what they write.
func FuzzAppend(f *testing.F) {
	f.Add("a", 0, 0, "c", "text", "id", false, []byte(nil))
	f.Add("", -1, 9, "\xff", "\u2028\"\\\n\x00<&>", "🦜", true, []byte(`{"a":"b c"}`))
	f.Add("", 1<<40, 1, "", "\xe4\xb8", "", true, []byte("[1, 2]"))
	f.Add("", 1, 1, "", "", "", true, []byte(`"\`))
	f.Fuzz(func(t *testing.T, attempt string, index, block int, call, text, id string, flag bool, carry []byte) {
		o := Origin{Attempt: attempt, Index: index}
		for _, e := range []Event{
			&TextChunk{Origin: o, Block: block, Text: text, Refusal: flag},
			&ReasoningChunk{Origin: o, Block: block, Text: text, Summary: flag, Carry: carry},
			&ReasoningChunk{Origin: o, Block: block, Text: text, Summary: flag},
			&ToolCallStart{Origin: o, Block: block, Call: call, ProviderID: id, Name: text, Custom: flag},
			&ToolCallDelta{Origin: o, Block: block, Call: call, Arguments: text},
			&ToolCallEnd{Origin: o, Block: block, Call: call, Invalid: text, Carry: carry},
			&ToolOutput{Call: call, Attempt: attempt, Index: index, Text: text},
			&GenerationJob{Conversation: id, Step: index, System: text, AnswerSchema: carry, Messages: []Message{
				{Role: Role(id), By: call, Provider: attempt, Model: id, Omitted: Omission(text), Parts: []Part{
					{Kind: PartKind(id), Text: text, Summary: flag, Call: call, ProviderID: id, Name: attempt, Arguments: text, Custom: flag, Invalid: id, Status: Status(call), Carry: carry},
					{Text: call, Data: carry}, {MIME: text}}},
				{}, {Parts: []Part{}}}},
		} {
			checkAppend(t, e)
			if raw, err := Append(nil, e); err == nil && utf8.Valid(raw) {
				checkHot(t, raw)
			}
		}
	})
}

// FuzzDecode holds the fast decoder against encoding/json on any bytes.
func FuzzDecode(f *testing.F) {
	for _, e := range hot() {
		if raw, err := Append(nil, e); err == nil {
			f.Add(raw)
		}
	}
	for _, messages := range []string{``, `{"role":"user","parts":[{"kind":"text","text":"a\n"}]}`,
		`{"role":"assistant","parts":[{"kind":"call","call":"c","carry":{"a":"}"}}],"model":"m"},{"parts":[{"data":"AA=="}]}`} {
		f.Add([]byte(job(messages, `,"tools":[]}`)))
	}
	f.Add([]byte(`{"type":"TextChunk","index":01,"text":"\ud83e\udd9c"}`))
	f.Add([]byte(`{"type":"ToolCallDelta","index":1e3,"arguments":"\u00e9"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if utf8.Valid(raw) { // DecodeLine refuses the rest before
			checkHot(t, raw)
		}
	})
}

// FuzzDecodeFrame: no input panics, and what was decoded is passed on byte for
// byte, the unknown included.
func FuzzDecodeFrame(f *testing.F) {
	f.Add([]byte(hi + "\r\n\n" + later))
	f.Add([]byte(`{"type":"Decision","events":[` + later + `,` + hi + `],"state":{"phase":"idle"}}`))
	f.Add([]byte(`{"type":"Decision","events":[{"type":"Decision","events":[null]}]}`))
	f.Add([]byte(`{"Type":"Claim","type":"Cancel","later":[]}`))
	f.Add([]byte(`{"type":"Verdict","id":"1","calls":["c"],"verdict":"approve"}`))
	for _, e := range Prototypes() {
		if raw, err := Append(nil, e); err == nil {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		lines, err := DecodeFrame(data)
		var frame []byte
		for _, l := range lines {
			if !bytes.Contains(data, l.Raw) {
				t.Fatalf("%q is not in the frame", l.Raw)
			}
			raw, err := l.MarshalJSON()
			if err != nil || !bytes.Equal(raw, l.Raw) {
				t.Fatalf("%q is passed on as %q, %v", l.Raw, raw, err)
			}
			if u, ok := l.Event.(*Unknown); ok && (New(u.Name) != nil || !bytes.Equal(u.Raw, l.Raw)) {
				t.Fatalf("%q is held as %#v", l.Raw, u)
			}
			encoded, err := Append(nil, l.Event)
			if err != nil || !json.Valid(encoded) {
				t.Fatalf("%q was decoded and is encoded as %q, %v", l.Raw, encoded, err)
			}
			frame = append(append(frame, l.Raw...), '\n')
		}
		if err != nil && len(lines) == 0 {
			return
		}
		if again, err := DecodeFrame(frame); err != nil || !reflect.DeepEqual(again, lines) {
			t.Fatalf("decoded again: %v\n got %+v\nwant %+v", err, again, lines)
		}
	})
}

// FuzzArguments: what a person is shown, what the verdict names and what runs
// have one digest, however often they travel.
func FuzzArguments(f *testing.F) {
	f.Add([]byte(`{"path": "a b", "n": 1.50}`))
	f.Add([]byte("null"))
	f.Add([]byte("{\"\u2028<&>\\u2028\":[1e400, \"\\ud83e\"]}"))
	f.Fuzz(func(t *testing.T, arguments []byte) {
		if !json.Valid(arguments) || !utf8.Valid(arguments) {
			return
		}
		raw, err := Append(nil, &Paused{Awaiting: []Awaited{{Arguments: arguments}}})
		if err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsAny(raw, "\r\n") {
			t.Fatalf("%q breaks the frame's lines", raw)
		}
		l, err := DecodeLine(raw)
		if err != nil {
			t.Fatal(err)
		}
		shown := string(l.Event.(*Paused).Awaiting[0].Arguments)
		if Digest(shown) != Digest(string(arguments)) {
			t.Fatalf("%q became %q, which has another digest", arguments, shown)
		}
	})
}
