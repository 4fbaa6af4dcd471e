package terminal

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/parleybus/parley/internal/events"
)

// strange are characters that the prompt itself never writes.
const strange = "жщ漢Ω"

// TestElicitationsAreShownBehindABar: text of a tool, however long or odd, never
// shares a line with the prompt's own text.
func TestElicitationsAreShownBehindABar(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		piece := rapid.SampledFrom([]string{"ж", "щщщ ", strings.Repeat("Ω", 300), " ", strings.Repeat(" ", 90), "\n", "\r", "\u2028", "\x1b[2K", "\u202e", "漢漢", "\t", `\`, `"`})
		value := strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(rt, "value"), "")
		raw, err := json.Marshal(map[string]any{"message": value, "schema": map[string]any{"required": []string{value + "r"}, "properties": map[string]any{
			value:    map[string]any{"type": "string", "description": value, "default": value, "format": value, "pattern": "^" + value},
			"e":      map[string]any{"enum": []any{value, 1}, "enumNames": []string{value, value}},
			"j":      map[string]any{"type": value, "default": value},
			"broken": value,
		}}})
		if err != nil {
			rt.Fatal(err)
		}
		a := events.Awaited{For: events.WaitAnswer, Call: "c", Arguments: raw, Reason: value, DeadlineMS: 1}
		for _, p := range []Profile{{Width: 20, Unicode: true}, {Width: 60}, {}} {
			var prompted, shown bytes.Buffer
			in := typed("v", "a", "{}", "y", "", "", "", "", "", "v", "s")
			echoed := func(hidden bool, prompt func() error) (string, error) {
				line, err := in(hidden, prompt)
				prompted.WriteByte('\n')
				return line, err
			}
			if _, err := Prompt(&prompted, echoed, p, a, noEditor); err != nil {
				rt.Fatal(err)
			}
			r := New(&shown, p, Options{Verbose: true})
			e := &events.Decision{Events: []events.Line{{Event: &events.Paused{Awaiting: []events.Awaited{a}}}}}
			if err := r.Show(Entry{Time: time.UnixMilli(0), Line: events.Line{Event: e}}); err != nil {
				rt.Fatal(err)
			}
			for line := range strings.Lines(prompted.String() + shown.String()) {
				harmless(t, "rapid", line)
				line = strings.TrimSuffix(line, "\n")
				behind := strings.HasPrefix(strings.TrimLeft(line, " "), p.marks().bar+" ") && strings.HasPrefix(line, "  ")
				if !behind && strings.ContainsAny(line, strange) {
					rt.Fatalf("a line of the prompt holds text of the tool: %q", line)
				}
				if p.Width > 0 && behind && cells(line) > p.Width {
					rt.Fatalf("%q takes %d columns of %d", line, cells(line), p.Width)
				}
			}
		}
	})
}

func TestWhatFitsAField(t *testing.T) {
	const (
		text    = `{"type":"string","minLength":2,"maxLength":4,"pattern":"^[a-zé]+$"}`
		integer = `{"type":"integer","minimum":-1,"maximum":100}`
		one     = `{"type":"string","enum":["red","a b","true"],"enumNames":["Warm","Cold","Cold"]}`
		numbers = `{"enum":[3,1,2.5]}`
		some    = `{"type":"array","items":{"oneOf":[{"const":"x","title":"Ex"},{"const":"y"}]},"minItems":1,"maxItems":2}`
	)
	for _, tc := range []struct{ name, schema, line, want string }{
		{"a text is taken as it is", `{"type":"string"}`, ` <a> "b"`, `" <a> \"b\""`},
		{"a text has its length in characters", text, "éé", `"éé"`},
		{"a text can be too short", text, "a", "- it takes at least 2 characters"},
		{"a text can be too long", text, "abcde", "- it takes at most 4 characters"},
		{"a text can be of another form", text, "AB", "- it takes a text like its pattern"},
		{"a pattern that is not known here is left to who decides", `{"type":"string","pattern":"(?=a)"}`, "b", `"b"`},
		{"a date", `{"type":"string","format":"date"}`, "2026-02-28", `"2026-02-28"`},
		{"a date that is none", `{"type":"string","format":"date"}`, "2026-02-30", "- it takes a date as 2026-01-31"},
		{"a time that is none", `{"type":"string","format":"date-time"}`, "noon", "- it takes a date and time as 2026-01-31T15:04:05Z"},
		{"an address", `{"type":"string","format":"email"}`, "a@b", `"a@b"`},
		{"an address that is none", `{"type":"string","format":"email"}`, "@b", "- it takes an e-mail address"},
		{"a URI that is none", `{"type":"string","format":"uri"}`, "a.example", "- it takes a whole URI, with its scheme"},
		{"a format that is not known here", `{"type":"string","format":"colour"}`, "x", `"x"`},
		{"a whole number", integer, " 7 ", "7"},
		{"a whole number has no fraction", integer, "7.0", "- it takes a whole number"},
		{"a whole number has no zeros before it", integer, "007", "- it takes a whole number"},
		{"a whole number is no word", integer, "null", "- it takes a whole number"},
		{"a whole number can be too small", integer, "-2", "- it takes at least -1"},
		{"a whole number can be too large", integer, "101", "- it takes at most 100"},
		{"a whole number may be of any size", `{"type":"integer"}`, "123456789012345678901234567890", "123456789012345678901234567890"},
		{"a number", `{"type":"number"}`, "2.50", "2.50"},
		{"a number must be one that can be counted with", `{"type":"number"}`, "1e999", "- the number is too large"},
		{"a number is no text", `{"type":"number"}`, `"5"`, "- it takes a number"},
		{"yes", `{"type":"boolean"}`, "YES", "true"},
		{"no", `{"type":"boolean"}`, "n", "false"},
		{"neither", `{"type":"boolean"}`, "1", "- it takes yes or no"},
		{"a choice by its value", one, "a b", `"a b"`},
		{"a choice by its value in quotes", one, `"true"`, `"true"`},
		{"a choice by its number", one, "2", `"a b"`},
		{"a choice by its title", one, "warm", `"red"`},
		{"a duplicate title names no choice", one, "cold", "- it takes one of these, by number or by value"},
		{"no choice has that number", one, "4", "- it takes one of these, by number or by value"},
		{"of numbers the value counts", numbers, "3", "3"},
		{"of numbers a place means nothing", numbers, "2", "- it takes one of these, by value"},
		{"some of several, each once", some, "y, 1,y", `["y","x"]`},
		{"some of several by title", some, "ex", `["x"]`},
		{"something that is none of several", some, "x,z", "- it takes some of these, by number or by value, with commas between them"},
		{"JSON where nothing better is known", `{"type":["string","null"]}`, " null", "null"},
		{"no JSON", `{}`, "text", `- it takes JSON, such as "text", 7 or [1, 2]`},
		{"a schema that is none", `true`, `[1]`, `[1]`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newField(member{"f", json.RawMessage(tc.schema)}, false)
			value, problem := f.typed(tc.line)
			got := string(value)
			if problem != "" {
				got = "- " + problem
			}
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestSchemasOfAnswers(t *testing.T) {
	for _, tc := range []struct{ name, schema, want string }{
		{"no schema means yes or no", `null`, "asks for yes or no"},
		{"an object without fields too", `{"type":"object","properties":{}}`, "asks for yes or no"},
		{"unless it has other keywords", `{"type":"object","minProperties":1}`, "asks for an answer in JSON"},
		{"required ones come first", `{"properties":{"a":{},"b":{},"c":{}},"required":["c","b"]}`, "asks for 3 fields: b c a"},
		{"a required property without a description is a field", `{"required":["z"]}`, "asks for 1 field: z"},
		{"a duplicate field is ambiguous", `{"properties":{"a":{},"a":{}}}`, "asks for an answer in JSON"},
		{"fields must be an object", `{"properties":[1]}`, "asks for an answer in JSON"},
		{"a schema that is no object is shown", `[1]`, "asks for an answer in JSON"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := elicitationOf(&events.Awaited{Arguments: json.RawMessage(`{"message":"m","schema":` + tc.schema + `}`)})
			got := k.wants(Profile{Unicode: true})
			for i, f := range k.fields {
				got += strings.Repeat(":", 1-min(1, i)) + " " + f.name
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestAnInvalidDefaultIsIgnored(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type":"integer","default":"7"}`:                            "",
		`{"type":"integer","default":7}`:                              "7",
		`{"type":"string","enum":["a"],"default":"b"}`:                "",
		`{"type":"array","items":{"enum":["a","b"]},"default":["b"]}`: `["b"]`,
		`{"type":"array","items":{"enum":["a","b"]},"default":null}`:  "",
		`{"type":"boolean","default":1}`:                              "",
		`{"type":"string","default":"\u0061"}`:                        `"\u0061"`,
	} {
		if f := newField(member{"f", json.RawMessage(schema)}, false); string(f.given) != want {
			t.Errorf("%s proposes %s, want %s", schema, f.given, want)
		}
	}
}

func TestYesOrNo(t *testing.T) {
	for arguments, want := range map[string]bool{
		`{"message":"m"}`:               true,
		`{"message":"m","schema":null}`: true,
		`{"message":"m","schema":{}}`:   false,
		``:                              false,
		`[]`:                            false,
	} {
		if got := YesOrNo(&events.Awaited{For: events.WaitAnswer, Arguments: json.RawMessage(arguments)}); got != want {
			t.Errorf("%s: got %t", arguments, got)
		}
	}
	if YesOrNo(&events.Awaited{For: events.WaitApproval, Arguments: json.RawMessage(`{"message":"m"}`)}) {
		t.Error("a call that needs approval is taken for an elicitation")
	}
}
