package events

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// checkHot fails when decodeHot takes an event that it should leave, or reads
// it otherwise than encoding/json does. It reports whether it was taken.
func checkHot(t *testing.T, raw []byte) bool {
	t.Helper()
	got := decodeHot(raw)
	if got == nil {
		return false
	}
	want := New(got.Type())
	if err := json.Unmarshal(raw, want); err != nil {
		t.Fatalf("%s: taken, though encoding/json says: %v", raw, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %#v\nwant %#v", raw, got, want)
	}
	return true
}

// job is a job with messages, and with what follows them.
func job(messages, behind string) string {
	return `{"type":"GenerationJob","conversation":"c","step":2,"messages":[` + messages + `]` + behind
}

func TestTheFastDecoder(t *testing.T) {
	for _, tc := range []struct {
		name string
		raw  string
		fast bool
	}{
		{"takes a text chunk", `{"type":"TextChunk","attempt":"a","index":12,"block":3,"text":"Hi","refusal":true}`, true},
		{"takes a bare text chunk", `{"type":"TextChunk","index":0,"text":""}`, true},
		{"takes a reasoning chunk", `{"type":"ReasoningChunk","attempt":"a","index":1,"block":1,"text":"so","summary":true}`, true},
		{"takes a bare reasoning chunk", `{"type":"ReasoningChunk","index":1}`, true},
		{"takes a delta", `{"type":"ToolCallDelta","attempt":"a","index":4,"block":1,"call":"c","arguments":"{\"path\":\"a\\\\b\"}"}`, true},
		{"undoes escapes", `{"type":"TextChunk","index":0,"text":"\"\\\/\b\f\n\r\t\u0000\u00e9\u2028\ufffdé世🦜"}`, true},
		{"undoes escapes in the attempt too", `{"type":"TextChunk","attempt":"\n\n","index":0,"text":"\u4E16\n"}`, true},
		{"takes the largest count", `{"type":"TextChunk","index":999999999,"text":""}`, true},

		{"takes a job", job(`{"role":"user","parts":[{"kind":"text","text":"a\n"}]}`, `}`), true},
		{"takes a job without messages", job(``, `}`), true},
		{"takes a job with fields behind its messages", job(`{"role":"user","parts":[{"kind":"text"}]}`, `,"tools":[{"name":"t","schema":{"a":[null]}}],"ceilings":{"answer_calls":1}}`), true},
		{"takes a job with every field of a message that is text", job(`{"role":"assistant","parts":[{"kind":"reasoning","text":"t","summary":true},{"kind":"call","call":"c","provider_id":"p","name":"n","arguments":"{}","custom":true,"invalid":"i"},{"kind":"result","status":"ok","carry":{"a":"}\""}}],"by":"parley","provider":"p","model":"m","omitted":"carries"}`, `}`), true},
		{"takes a job with a message that has an image", job(`{"role":"user","parts":[{"kind":"image","data":"AAAA","mime":"image/png"}]},{"role":"user","parts":[]}`, `}`), true},
		{"takes a job with a message of another order", job(`{"parts":[],"role":"user"},{"parts":null}`, `}`), true},
		{"takes a job with a surrogate pair", job(`{"role":"user","parts":[{"kind":"text","text":"\ud83e\udd9c"}]}`, `}`), true},
		{"takes a job whose system prompt looks like its messages", `{"type":"GenerationJob","system":",\"messages\":[{","messages":[{"role":"user","parts":[]}]}`, true},
		{"takes the last of two transcripts", job(`{"role":"user","parts":[{"kind":"text","text":"a"}]}`, `,"messages":[{"role":"tool","parts":[]},{}]}`), true},
		{"takes none, which is behind a transcript", job(`{"role":"user","parts":[]}`, `,"messages":null}`), true},
		{"leaves a job with a transcript before its messages", `{"type":"GenerationJob","Messages":[{"role":"tool"}],"messages":[{"role":"user","parts":[]}]}`, false},
		{"leaves a job whose transcript is in another field", `{"type":"GenerationJob","x":{"y":1,"messages":[{"role":"user","parts":[]}]}}`, false},
		{"leaves a job of the other order", `{"messages":[],"type":"GenerationJob"}`, false},
		{"leaves a job without a transcript", `{"type":"GenerationJob","step":1}`, false},
		{"leaves a job that ends in its messages", job(`{"role":"user","parts":[{"kind":"text","text":"a"}`, ``), false},
		{"leaves a job without a comma between messages", job(`{"role":"user","parts":[]}{"role":"user","parts":[]}`, `}`), false},
		{"leaves a job with a comma behind its messages", job(`{"role":"user","parts":[]},`, `}`), false},
		{"leaves a job with a comma behind its transcript", job(`{"role":"user","parts":[]}`, `,}`), false},
		{"leaves a job without a comma behind its transcript", job(`{"role":"user","parts":[]}`, `"tools":[]}`), false},
		{"leaves a job with a comma before its messages", job(`,{"role":"user","parts":[]}`, `}`), false},
		{"leaves a job with a message that is a number", job(`1`, `}`), false},
		{"leaves a job with a carry that is no JSON", job(`{"role":"user","parts":[{"kind":"text","carry":{a}}]}`, `}`), false},
		{"leaves a job with a role that is a number", job(`{"role":1,"parts":[]}`, `}`), false},
		{"leaves a job with a step that is a text", `{"type":"GenerationJob","step":"1","messages":[]}`, false},
		{"leaves a job with tools that are a number", job(``, `,"tools":1}`), false},
		{"leaves a job that something follows", job(``, `}}`), false},

		{"leaves a count that may overflow", `{"type":"TextChunk","index":9999999999,"text":""}`, false},
		{"leaves a negative number", `{"type":"TextChunk","index":-1,"text":""}`, false},
		{"leaves a leading zero", `{"type":"TextChunk","index":01,"text":""}`, false},
		{"leaves a fraction", `{"type":"TextChunk","index":1.0,"text":""}`, false},
		{"leaves a missing number", `{"type":"TextChunk","index":,"text":""}`, false},
		{"leaves a carry", `{"type":"ReasoningChunk","index":1,"text":"so","carry":{"s":1}}`, false},
		{"leaves an unknown field", `{"type":"TextChunk","index":0,"text":"Hi","later":1}`, false},
		{"leaves another order", `{"type":"TextChunk","text":"Hi","index":0}`, false},
		{"leaves a type that is not first", `{"index":0,"type":"TextChunk","text":"Hi"}`, false},
		{"leaves a type that only begins like one", `{"type":"TextChunkX","index":0,"text":"Hi"}`, false},
		{"leaves a missing text", `{"type":"TextChunk","index":0}`, false},
		{"leaves a missing index", `{"type":"TextChunk","text":"Hi"}`, false},
		{"leaves null", `{"type":"TextChunk","index":0,"text":null}`, false},
		{"leaves space", `{"type":"TextChunk", "index":0,"text":"Hi"}`, false},
		{"leaves what follows the object", `{"type":"TextChunk","index":0,"text":"Hi"}}`, false},
		{"leaves a control character", "{\"type\":\"TextChunk\",\"index\":0,\"text\":\"\t\"}", false},
		{"leaves a surrogate pair", `{"type":"TextChunk","index":0,"text":"\ud83e\udd9c"}`, false},
		{"leaves a wrong escape", `{"type":"TextChunk","index":0,"text":"\x"}`, false},
		{"leaves a wrong digit", `{"type":"TextChunk","index":0,"text":"\u00g0"}`, false},
		{"leaves a cut escape", `{"type":"TextChunk","index":0,"text":"\u00`, false},
		{"leaves a cut backslash", `{"type":"TextChunk","index":0,"text":"\`, false},
		{"leaves a cut text", `{"type":"TextChunk","index":0,"text":"Hi`, false},
		{"leaves other events", `{"type":"ToolOutput","call":"c","index":0,"text":"Hi"}`, false},
		{"leaves nothing at all", ``, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if fast := checkHot(t, []byte(tc.raw)); fast != tc.fast {
				t.Errorf("%s: taken %v, want %v", tc.raw, fast, tc.fast)
			}
		})
	}
}

func TestTheFastDecoderTakesWhatAppendWrites(t *testing.T) {
	for _, e := range hot() {
		raw, err := Append(nil, e)
		if err != nil {
			continue // refused: see TestHandWrittenEventsEqualEncodingJSON
		}
		var want bool
		switch e := e.(type) {
		case *TextChunk:
			want = e.Index >= 0
		case *ToolCallDelta:
			want = true
		case *ReasoningChunk:
			want = e.Carry == nil
		}
		if got := utf8.Valid(raw) && checkHot(t, raw); got != want {
			t.Errorf("%s: taken %v, want %v", raw, got, want)
		}
	}
}

func TestDecodedTextSurvivesTheBufferItCameIn(t *testing.T) {
	raw := []byte(`{"type":"TextChunk","attempt":"a","index":0,"text":"kept"}`)
	l, err := DecodeLine(raw)
	if err != nil {
		t.Fatal(err)
	}
	copy(raw, strings.Repeat("x", len(raw)))
	if e := l.Event.(*TextChunk); e.Text != "kept" || e.Attempt != "a" {
		t.Errorf("got %#v: the strings changed with the buffer", e)
	}
}

func TestDecodingATextChunkAllocatesTwice(t *testing.T) {
	raw := chunkLine(t)
	n := testing.AllocsPerRun(100, func() {
		if _, err := DecodeLine(raw); err != nil {
			t.Fatal(err)
		}
	})
	if n > 2 {
		t.Errorf("%v allocations, want the struct and one for its strings", n)
	}
}
