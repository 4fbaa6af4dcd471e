package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/conformance"
	"github.com/parleybus/parley/internal/llm/recording"
)

func TestWhereTheTransportCutsChangesNothing(t *testing.T) {
	bodies := map[string]string{}
	for _, s := range shapes() {
		bodies[s.name] = s.body
	}
	conformance.Decoder(t, Decode, bodies)
}

func TestAnAnswerCutAnywhereKeepsItsBeginning(t *testing.T) {
	conformance.Cuts(t, Decode, map[string]string{"text and a call": sse(delta(`"content":"Hé"`),
		entry(`"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":"}`), entry(`"index":0,"function":{"arguments":"12"}`),
		entry(`"index":0,"function":{"arguments":"3}"}`), finished("tool_calls"), `[DONE]`)})
}

func TestArgumentsCutAtEveryByteAreTheSame(t *testing.T) {
	arguments := `{"é\u00e9\"\\":[12,{"a":"日本"}],"n":-1.5e3}`
	for at := range len(arguments) {
		if !utf8.ValidString(arguments[:at]) {
			continue // within a rune: such a piece cannot be written in JSON
		}
		var pieces []string
		for _, p := range []string{arguments[:at], arguments[at:]} {
			pieces = append(pieces, entry(fmt.Sprintf(`"index":0,"id":"","function":{"name":"","arguments":%s}`, quote(p))))
		}
		pieces = append([]string{entry(`"index":0,"id":"a","function":{"name":"f"}`)}, append(pieces, finished("tool_calls"), `[DONE]`)...)
		got := collect(t, Decode(strings.NewReader(sse(pieces...))))
		if len(got.Calls) != 1 || got.Calls[0].Arguments != arguments || got.Calls[0].Invalid != "" {
			t.Fatalf("cut at %d: %+v", at, got.Calls)
		}
	}
}

func TestLargeAnswersTakeLinearTime(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	cases := []struct {
		name string
		body string
		size int
	}{
		{"1 MiB of arguments in one line", sse(entry(`"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":\"`+big+`\"}"}`), `[DONE]`), 1<<20 + 8},
		{"1 MiB of arguments full of escapes", sse(entry(`"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":\"`+strings.Repeat(`\\\\`, 1<<19)+`\"}"}`), `[DONE]`), 1<<20 + 8},
		{"12 MiB of text in one line", sse(delta(`"content":"`+strings.Repeat(big, 12)+`"`), `[DONE]`), 12 << 20},
		{"arguments in 50,000 pieces", string(chunks(50_000, `{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"x"}}]}`)), 50_000},
		{"20,000 calls", string(chunks(20_000, `{"tool_calls":[{"index":N,"id":"N","function":{"name":"f","arguments":"x"}}]}`)), 20_000},
		{"20,000 calls that get their names last", string(chunks(20_000, `{"tool_calls":[{"index":N,"id":"N","function":{"arguments":"x"}}]}`)), 20_000},
		{"text in 50,000 pieces", string(chunks(50_000, `{"content":"x"}`)), 50_000},
		{"20,000 reasoning details", string(chunks(20_000, `{"reasoning_details":[{"type":"reasoning.text","index":N,"text":"x"}]}`)), 20_000},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := collect(t, Decode(strings.NewReader(c.body)))
			n := len(got.Text) + len(got.Reasoning)
			for _, call := range got.Calls {
				n += len(call.Arguments)
			}
			if n != c.size {
				t.Errorf("%d bytes came out, want %d", n, c.size)
			}
		})
	}
}

func TestBlocksKeepTheOrderOfTheAnswer(t *testing.T) {
	body := sse(delta(`"reasoning_content":"r1"`), delta(`"content":"t1"`), entry(`"index":0,"id":"a","function":{"name":"f","arguments":"{}"}`),
		delta(`"content":"t2"`), entry(`"index":1,"id":"b","function":{"name":"g","arguments":"{}"}`), delta(`"reasoning_content":"r2"`), delta(`"content":"t3"`), `[DONE]`)
	var order []string
	for e := range Decode(strings.NewReader(body)) {
		switch e := e.(type) {
		case *events.TextChunk:
			order = append(order, fmt.Sprint(e.Block, e.Text))
		case *events.ReasoningChunk:
			order = append(order, fmt.Sprint(e.Block, e.Text))
		case *events.ToolCallStart:
			order = append(order, fmt.Sprint(e.Block, e.Name))
		}
	}
	if got, want := strings.Join(order, " "), "0r1 1t1 2f 3t2 4g 5r2 6t3"; got != want {
		t.Errorf("blocks are %s, want %s", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range shapes() {
		f.Add([]byte(s.body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got := recording.Collect(Decode(bytes.NewReader(body)))
		if len(got.Broken) > 0 {
			t.Errorf("%v\n%q", got.Broken, body)
		}
		// A consumer may stop at any event.
		for range Decode(bytes.NewReader(body)) {
			break
		}
	})
}

func TestDeepNestingIsRefusedAsByTheStandardLibrary(t *testing.T) {
	for _, depth := range []int{maxDepth / 2, maxDepth, maxDepth + 1, 1 << 20} {
		raw := []byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))
		if got, want := valid(raw), json.Valid(raw); got != want {
			t.Errorf("%d levels: valid is %v, want %v", depth, got, want)
		}
	}
}

func FuzzWalkAgreesWithTheStandardLibrary(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":[{"c":"\"]}"}],"\u0041":null}`, `[1, "x" , {"a":[]}]`, `"\\\""`, `{`, `{"a"`, "{\"\x8b\":null}", `-0.5e+3`, `01`, `1e`, `"\u12g4"`, "\"\x01\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if got, want := valid(raw), json.Valid(raw); got != want {
			t.Errorf("valid(%q) is %v, want %v", raw, got, want)
		}
		got := map[string]json.RawMessage{}
		for key, v := range members(raw) {
			got[string(key)] = v
		}
		n := 0
		for range elements(raw) {
			n++
		}
		var want map[string]json.RawMessage
		if json.Unmarshal(raw, &want) == nil && want != nil {
			for key, v := range want {
				if !bytes.Equal(got[key], v) {
					t.Errorf("%q is %s, want %s", key, got[key], v)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d members, want %d", len(got), len(want))
			}
		}
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) == nil && n != len(list) {
			t.Errorf("%d elements, want %d", n, len(list))
		}
	})
}
