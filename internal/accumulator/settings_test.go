package accumulator

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parleybus/parley/internal/events"
)

// accepted folds a conversation in which each patch was published and accepted.
func accepted(t *testing.T, patches ...string) *Transcript {
	t.Helper()
	c := Conversation{Transcript: NewTranscript()}
	for i, p := range patches {
		id := string(rune('a' + i))
		p = `{"type":"Settings","id":"` + id + `"` + strings.Replace(p, "{", ",", 1)
		c.Apply(Message{Channel: events.ChannelIn, Sequence: uint64(2*i + 1), Lines: read(t, strings.Replace(p, ",}", "}", 1))})
		c.Apply(Message{Channel: events.ChannelTurn, Sequence: uint64(2*i + 2), Lines: read(t,
			`{"type":"Decision","events":[{"type":"InputAnswered","input":"`+id+`","answer":"accepted"}],"state":{"phase":"idle"}}`)})
	}
	return c.Transcript
}

func TestSettingsAreMergedFieldByField(t *testing.T) {
	for _, c := range []struct {
		name    string
		patches []string
		want    string // without type and id
	}{
		{"a field that is absent changes nothing", []string{`{"route":"a/b","system":"be brief"}`, `{"route":"c/d"}`}, `{"route":"c/d","system":"be brief"}`},
		{"null unsets", []string{`{"route":"a/b","system":"be brief"}`, `{"system":null}`}, `{"route":"a/b"}`},
		{"null unsets what was never set", []string{`{"system":null,"policy":null}`}, `{}`},
		{"an empty value is a value", []string{`{"tools":["a"]}`, `{"tools":[]}`}, `{"tools":[]}`},
		{"objects are merged all the way down", []string{`{"limits":{"steps":3,"calls":{"f":1,"g":2}}}`, `{"limits":{"tokens":9,"calls":{"g":null,"h":4}}}`},
			`{"limits":{"calls":{"f":1,"h":4},"steps":3,"tokens":9}}`},
		{"a schema of answers is replaced as a whole, with its nulls", []string{`{"answer_schema":{"type":"object","properties":{"a":{"default":null}}}}`, `{"route":"a/b","answer_schema":{"type":"object","properties":{"b":{"const":null}}}}`},
			`{"answer_schema":{"type":"object","properties":{"b":{"const":null}}},"route":"a/b"}`},
		{"null removes a schema of answers", []string{`{"answer_schema":{"type":"object"}}`, `{"route":"a/b","answer_schema":null}`}, `{"route":"a/b"}`},
		{"lists are replaced", []string{`{"tools":["a","b"]}`, `{"tools":["c"]}`}, `{"tools":["c"]}`},
		{"the rules of a policy are a list, its other fields stay", []string{`{"policy":{"deadline_ms":7,"rules":[{"action":"auto"}]}}`, `{"policy":{"rules":[{"tool":"f","action":"deny"}]}}`},
			`{"policy":{"deadline_ms":7,"rules":[{"action":"deny","tool":"f"}]}}`},
		{"rules that are added come before the existing ones", []string{`{"policy":{"deadline_ms":7,"rules":[{"tool":"f","action":"deny"}]}}`, `{"add_rules":[{"tool":"g","action":"approve"}]}`},
			`{"policy":{"deadline_ms":7,"rules":[{"action":"approve","tool":"g"},{"action":"deny","tool":"f"}]}}`},
		{"a rule that is there already moves to the front", []string{`{"policy":{"rules":[{"tool":"f","action":"deny"},{"action":"auto"}]}}`, `{"add_rules":[{"action":"auto"}]}`},
			`{"policy":{"rules":[{"action":"auto"},{"action":"deny","tool":"f"}]}}`},
		{"rules are added where there were none", []string{`{"add_rules":[{"action":"auto"}]}`}, `{"policy":{"rules":[{"action":"auto"}]}}`},
		{"rules are added to those of the same Settings", []string{`{"add_rules":[{"action":"auto"}],"policy":{"rules":[{"tool":"f","action":"deny"}]}}`},
			`{"policy":{"rules":[{"action":"auto"},{"action":"deny","tool":"f"}]}}`},
		{"fields of a later version stay", []string{`{"later":{"a":1}}`, `{"later":{"b":12345678901234567890},"route":"a/b"}`}, `{"later":{"a":1,"b":12345678901234567890},"route":"a/b"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := accepted(t, c.patches...)
			raw, err := json.Marshal(got.Document)
			if err != nil {
				t.Fatal(err)
			}
			line, err := events.DecodeLine(raw)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(line.Event, events.Event(&got.Settings)); diff != "" {
				t.Errorf("the struct is not the document (-document +struct)\n%s", diff)
			}
			var fields map[string]json.RawMessage
			if err := json.Unmarshal(raw, &fields); err != nil {
				t.Fatal(err)
			}
			delete(fields, "type")
			delete(fields, "id")
			if raw, err = json.Marshal(fields); err != nil || string(raw) != c.want {
				t.Errorf("%s, want %s (%v)", raw, c.want, err)
			}
		})
	}
}

func TestMergingDoesNotChangeTheDocumentBefore(t *testing.T) {
	before := accepted(t, `{"limits":{"calls":{"f":1}},"policy":{"rules":[{"action":"auto"}]}}`).Document
	text, _ := json.Marshal(before)
	for _, p := range []string{`{"type":"Settings","limits":{"calls":{"f":2,"g":null}}}`, `{"type":"Settings","add_rules":[{"action":"deny"}]}`, `{"type":"Settings","policy":null,"limits":null}`} {
		if _, _, err := before.Merge(Input{Raw: json.RawMessage(p)}); err != nil {
			t.Error(err)
		}
	}
	if after, _ := json.Marshal(before); string(after) != string(text) {
		t.Errorf("it was %s and is %s", text, after)
	}
}

func TestSettingsThatWereNotAcceptedChangeNothing(t *testing.T) {
	c := history(t, `
		in {"type":"Settings","id":"s1","route":"a/b","system":"be brief"}
		in {"type":"Settings","id":"s2","route":"c/d"}
		in {"type":"Settings","id":"s3","route":"e/f"}
		turn {"type":"Decision","events":[{"type":"InputAnswered","input":"s1","answer":"accepted"},{"type":"InputAnswered","input":"s2","answer":"accepted"},{"type":"InputAnswered","input":"s3","answer":"invalid"}],"state":{"phase":"idle"}}`)
	if s := c.Transcript.Settings; s.Route != "c/d" || s.System != "be brief" || s.ID != "s2" {
		t.Errorf("%+v", s)
	}
}

func TestMergedSettingsAreBounded(t *testing.T) {
	large, _ := json.Marshal(strings.Repeat("x", 3*maxDocument/4))
	d, _, err := Document{}.Merge(Input{Raw: json.RawMessage(`{"type":"Settings","a":` + string(large) + `}`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err = d.Merge(Input{Raw: json.RawMessage(`{"type":"Settings","b":` + string(large) + `}`)}); err == nil {
		t.Error("settings grow without bound")
	}
	if _, _, err = d.Merge(Input{Raw: json.RawMessage(`{"type":"Settings","b":` + string(large) + `,"a":null}`)}); err != nil {
		t.Error(err)
	}
}
