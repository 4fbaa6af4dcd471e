package events

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

const (
	hi    = `{"type":"TextChunk","index":0,"text":"Hi"}`
	later = `{"type":"Later","x":{"y":[1,2]}}`
)

func TestDecodeFrame(t *testing.T) {
	for _, tc := range []struct {
		name  string
		frame string
		raws  []string
		err   string
	}{
		{name: "one event", frame: hi, raws: []string{hi}},
		{name: "one event per line, with and without a last newline", frame: hi + "\n" + later + "\n", raws: []string{hi, later}},
		{name: "lines that end in CRLF", frame: hi + "\r\n" + later + "\r\n", raws: []string{hi, later}},
		{name: "blank lines are nothing", frame: "\n\r\n" + hi + "\n \t\n\n" + hi, raws: []string{hi, hi}},
		{name: "space around an event is not kept", frame: "  " + hi + "\t\n", raws: []string{hi}},
		{name: "unknown types and fields are kept", frame: later + "\n" + `{"type":"Cancel","id":"1","later":{"a":1.50}}`,
			raws: []string{later, `{"type":"Cancel","id":"1","later":{"a":1.50}}`}},
		{name: "a type that is not first", frame: `{"text":"Hi","index":3,"type":"TextChunk"}`,
			raws: []string{`{"text":"Hi","index":3,"type":"TextChunk"}`}},
		{name: "a megabyte in one line", frame: strings.Replace(hi, "Hi", strings.Repeat("é", 1<<19), 1),
			raws: []string{strings.Replace(hi, "Hi", strings.Repeat("é", 1<<19), 1)}},

		{name: "nothing", frame: "", err: "the frame is empty"},
		{name: "blank lines alone", frame: "\n \r\n", err: "the frame is empty"},
		{name: "invalid UTF-8 is refused and the line is named", frame: hi + "\n\n" + strings.Replace(hi, "Hi", "\xff", 1),
			raws: []string{hi}, err: "line 3 of the frame: event is not valid UTF-8"},
		{name: "an event without a type", frame: hi + "\n{}", raws: []string{hi}, err: `line 2 of the frame: event has no "type"`},
		{name: "an empty type", frame: `{"type":""}`, err: `line 1 of the frame: event has no "type"`},
		{name: "a type that is not a string", frame: `{"type":7}`, err: `line 1 of the frame: event field "type": a string is expected, not a number`},
		{name: "null", frame: `null`, err: `line 1 of the frame: event has no "type"`},
		{name: "an array", frame: `[` + hi + `]`, err: "line 1 of the frame: event is not a JSON object"},
		{name: "half an event", frame: hi + "\n" + hi[:20], raws: []string{hi}, err: "line 2 of the frame: event is not a JSON object"},
		{name: "two events on a line", frame: hi + hi, err: "line 1 of the frame: event is not a JSON object"},
		{name: "a field of the wrong kind", frame: `{"type":"TextChunk","index":"0"}`,
			err: `line 1 of the frame: event TextChunk: field "index": a whole number is expected, not a string`},
		{name: "a decision names what is wrong inside it", frame: `{"type":"Decision","events":[{}]}`,
			err: `line 1 of the frame: event Decision: event has no "type"`},
		{name: "nesting without bound", frame: `{"type":"Later","x":` + strings.Repeat("[", 1<<17),
			err: "line 1 of the frame: event is not a JSON object"},
		{name: "nesting beyond what encoding/json follows", frame: `{"type":"Later","x":` + strings.Repeat("[", 1<<17) + strings.Repeat("]", 1<<17) + "}",
			err: "line 1 of the frame: event is not a JSON object"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lines, err := DecodeFrame([]byte(tc.frame))
			if got := raws(lines); !reflect.DeepEqual(got, tc.raws) {
				t.Errorf("lines %.200q\nwant  %.200q", got, tc.raws)
			}
			switch {
			case tc.err == "" && err != nil:
				t.Errorf("error %.200v", err)
			case tc.err != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.err)):
				t.Errorf("error %.200v, want %s", err, tc.err)
			}
		})
	}
}

func raws(lines []Line) []string {
	var out []string
	for _, l := range lines {
		out = append(out, string(l.Raw))
	}
	return out
}

func TestAnUnknownTypeIsNotAnError(t *testing.T) {
	l, err := DecodeLine([]byte(later))
	if err != nil {
		t.Fatal(err)
	}
	u, ok := l.Event.(*Unknown)
	if !ok || u.Type() != "Later" || string(u.Raw) != later {
		t.Errorf("got %#v, want an Unknown with its bytes", l.Event)
	}
	if again, err := Append(nil, u); err != nil || string(again) != later {
		t.Errorf("passed on as %s, %v", again, err)
	}
}

func TestADecisionKeepsWhatItDoesNotKnow(t *testing.T) {
	raw := `{"type":"Decision","events":[` + later + `,{"type":"Paused","turn":"t","at_ms":7,"awaiting":[{"for":"approval","call":"c","digest":"d","later":1}],"later":"<&>"}],"state":{"phase":"paused"}}`
	l, err := DecodeLine([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	d := l.Event.(*Decision)
	if _, ok := d.Events[0].Event.(*Unknown); !ok {
		t.Errorf("the first event is %T, want Unknown", d.Events[0].Event)
	}
	if p, ok := d.Events[1].Event.(*Paused); !ok || p.Turn != "t" || p.Awaiting[0].Call != "c" {
		t.Errorf("the second event is %#v, want Paused", d.Events[1].Event)
	}
	if again, err := Append(nil, d); err != nil || string(again) != raw {
		t.Errorf("encoded again as\n%s, %v\nwant\n%s", again, err, raw)
	}
}

func TestALineIsEncodedAsItCameOrFromItsEvent(t *testing.T) {
	for _, tc := range []struct {
		name string
		line Line
		want string
	}{
		{"its bytes win", Line{Event: &TextChunk{Text: "no"}, Raw: json.RawMessage(later)}, later},
		{"without bytes the event is encoded", Line{Event: &TextChunk{Text: "Hi"}}, hi},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := tc.line.MarshalJSON()
			if err != nil || string(got) != tc.want {
				t.Errorf("got %s, %v; want %s", got, err, tc.want)
			}
		})
	}
}

func TestAppendFrame(t *testing.T) {
	frame, err := AppendFrame(nil, &TextChunk{Text: "Hi"}, &Unknown{Name: "Later", Raw: json.RawMessage(later)})
	if err != nil || string(frame) != hi+"\n"+later {
		t.Errorf("got %s, %v", frame, err)
	}
}
