package dialect_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm/dialect"
)

const obj = `{"type":"object","properties":{"a":{"type":"string"}}}`

func TestASchemaIsAdaptedToTheProvider(t *testing.T) {
	rules := map[string]dialect.Rules{"openai": dialect.OpenAI(), "responses": dialect.Responses(), "anthropic": dialect.Anthropic(), "ollama": dialect.Ollama(), "gemini": dialect.Gemini()}
	cases := []struct {
		what, schema string
		hosts        string // that want it; others are not looked at
		want         string
	}{
		{"what fits is sent as it was written", `{ "type":"object", "properties":{"z":{"type":"string"},"a":{"type":"number","maximum":12345678901234567890}}, "required":["z"] }`, "openai responses anthropic ollama", ""},
		{"no schema", ``, "openai responses ollama", `{"type":"object","properties":{}}`},
		{"no schema", ``, "anthropic", `{"type":"object"}`},
		{"no properties", `{"type":"object","additionalProperties":false}`, "openai responses ollama", `{"type":"object","additionalProperties":false,"properties":{}}`},
		{"no properties", `{"type":"object","additionalProperties":false}`, "anthropic", ""},
		{"no properties further down", `{"type":"object","properties":{"m":{"type":"object"}}}`, "openai responses", `{"type":"object","properties":{"m":{"type":"object","properties":{}}}}`},
		{"no type", `{"properties":{"b":{},"a":{}}}`, "openai responses anthropic ollama", `{"type":"object","properties":{"b":{},"a":{}}}`},
		{"an object or null", `{"type":["object","null"],"properties":{}}`, "openai responses anthropic ollama", `{"type":"object","properties":{}}`},
		{"arrays without items", `{"type":"object","properties":{"l":{"type":"array"},"n":{"type":["array","null"]},"o":{"items":{}, "type":"array"}}}`, "openai responses",
			`{"type":"object","properties":{"l":{"type":"array","items":{}},"n":{"type":["array","null"],"items":{}},"o":{"items":{},"type":"array"}}}`},
		{"arrays without items in every place", `{"type":"object","properties":{"x":{"anyOf":[{"type":"array"},{"type":"object","properties":{},"additionalProperties":{"type":"array"}}]}},"$defs":{"d":{"type":"array"}}}`, "openai responses",
			`{"type":"object","properties":{"x":{"anyOf":[{"type":"array","items":{}},{"type":"object","properties":{},"additionalProperties":{"type":"array","items":{}}}]}},"$defs":{"d":{"type":"array","items":{}}}}`},
		{"a property named like a keyword", `{"type":"object","properties":{"items":{"type":"string"},"type":{"type":"string"},"properties":{"type":"array","items":{}}}}`, "openai responses anthropic ollama", ""},
		{"values that look like schemas", `{"type":"object","properties":{"a":{"const":{"type":"array"},"default":{"type":"array"},"enum":[{"type":"array"}],"examples":[{"type":"array"}]}}}`, "openai responses anthropic ollama", ""},
		{"anyOf at the top", `{"type":"object","anyOf":[{"properties":{"id":{"type":"string"}},"required":["id"]},{"properties":{"name":{"type":"string"}},"required":["name"]}]}`, "openai responses anthropic ollama",
			`{"type":"object","properties":{"id":{"type":"string"},"name":{"type":"string"}}}`},
		{"oneOf of which all branches require one", `{"oneOf":[{"properties":{"k":{"const":"a"},"x":{}},"required":["k","x"]},{"properties":{"k":{"const":"b"}},"required":["k"]}]}`, "openai responses anthropic ollama",
			`{"type":"object","properties":{"k":{"anyOf":[{"const":"a"},{"const":"b"}]},"x":{}},"required":["k"]}`},
		{"allOf by reference", `{"type":"object","properties":{"z":{}},"required":["z"],"allOf":[{"$ref":"#/$defs/a"},{"required":["b"]}],"$defs":{"a":{"type":"object","properties":{"a":{}},"required":["a"]}}}`, "openai responses anthropic ollama",
			`{"type":"object","properties":{"z":{},"a":{}},"required":["z","a","b"],"$defs":{"a":{"type":"object","properties":{"a":{}},"required":["a"]}}}`},
		{"unions within unions", `{"type":"object","anyOf":[{"oneOf":[{"properties":{"a":{}}},{"properties":{"b":{}}}]},{"properties":{"c":{}}},{"type":"null"}]}`, "anthropic",
			`{"type":"object","properties":{"a":{},"b":{},"c":{}}}`},
		{"not and enum at the top", `{"type":"object","properties":{"a":{}},"not":{"required":["a"]},"enum":[{"a":1}]}`, "openai responses anthropic ollama", `{"type":"object","properties":{"a":{}}}`},
		{"unions further down", `{"type":"object","properties":{"a":{"anyOf":[{"type":"string"},{"type":"null"}]}}}`, "openai responses anthropic ollama", ""},
		{"a reference at the top", `{"$ref":"#/$defs/in","$defs":{"in":{"type":"object","properties":{"a":{}}}}}`, "openai responses anthropic ollama",
			`{"$defs":{"in":{"type":"object","properties":{"a":{}}}},"type":"object","properties":{"a":{}}}`},
		{"a schema that refers to itself", `{"type":"object","properties":{"r":{"$ref":"#/$defs/n"}},"$defs":{"n":{"type":"object","properties":{"k":{"type":"array","items":{"$ref":"#/$defs/n"}}}}}}`, "openai responses anthropic ollama", ""},
		{"draft 4", `{"$schema":"http://json-schema.org/draft-04/schema#","type":"object","properties":{"n":{"type":"number","minimum":1,"exclusiveMinimum":true,"maximum":9,"exclusiveMaximum":false}}}`, "openai responses anthropic ollama",
			`{"type":"object","properties":{"n":{"type":"number","exclusiveMinimum":1,"maximum":9}}}`},
		{"a list of items", `{"type":"object","properties":{"p":{"type":"array","items":[{"type":"number"},{"type":"array"}],"additionalItems":false}}}`, "anthropic",
			`{"type":"object","properties":{"p":{"type":"array","prefixItems":[{"type":"number"},{"type":"array"}],"items":{"not":{}}}}}`},
		{"a list of items without more", `{"type":"object","properties":{"p":{"type":"array","items":[{"type":"array"}]}}}`, "openai responses",
			`{"type":"object","properties":{"p":{"type":"array","prefixItems":[{"type":"array","items":{}}],"items":{}}}}`},
		{"true and false as schemas", `{"type":"object","properties":{"a":true,"b":false},"additionalProperties":false}`, "openai responses anthropic ollama",
			`{"type":"object","properties":{"a":{},"b":{"not":{}}},"additionalProperties":false}`},
		{"names of arguments", `{"type":"object","properties":{"a.b-c_1":{},"$top":{},"` + strings.Repeat("x", 65) + `":{}},"required":["a.b-c_1"]}`, "anthropic",
			`{"type":"object","properties":{"a.b-c_1":{}},"required":["a.b-c_1"]}`},
		{"names of arguments", `{"type":"object","properties":{"$top":{}}}`, "openai responses ollama", ""},
		{"keywords that the host takes", `{ "type":"object", "properties":{"z":{"type":["string","null"],"format":"date","title":"Z","description":"d"},"a":{"type":"number","minimum":1,"maximum":12345678901234567890},"l":{"type":"array","items":{"anyOf":[{"type":"string"},{"type":"null"}]},"minItems":1,"maxItems":2}}, "required":["z"], "additionalProperties":false }`, "gemini", ""},
		{"keywords that the host does not take", `{"type":"object","properties":{"a":{"type":"string","pattern":"^a","minLength":1,"format":"uri","default":"b","examples":["c"]},"n":{"type":"integer","exclusiveMinimum":0,"multipleOf":2},"l":{"type":"array","uniqueItems":true,"items":{"not":{"type":"null"}}}},"patternProperties":{"^x":{}},"$comment":"c","x-order":1}`, "gemini",
			`{"type":"object","properties":{"a":{"type":"string"},"n":{"type":"integer","minimum":0},"l":{"type":"array","items":{}}}}`},
		{"properties named like keywords", `{"type":"object","properties":{"pattern":{"type":"string"},"const":{"type":"string"},"$ref":{"type":"string"}}}`, "gemini", ""},
		{"constants and values", `{"type":"object","properties":{"a":{"const":"x"},"b":{"const":true},"c":{"enum":["x",null]},"d":{"enum":[{"type":"array"}]},"e":{"enum":[1,2]}}}`, "gemini",
			`{"type":"object","properties":{"a":{"type":"string","enum":["x"]},"b":{},"c":{"type":"string","enum":["x"]},"d":{},"e":{"type":"number","enum":[1,2]}}}`},
		{"references", `{"type":"object","properties":{"a":{"$ref":"#/$defs/s","description":"mine"},"b":{"anyOf":[{"$ref":"#/$defs/s"},{"type":"null"}]},"c":{"$ref":"https://example.com/s"},"d":{"$ref":"#/$defs/none"}},"$defs":{"s":{"type":"object","description":"theirs","properties":{"k":{"$ref":"#/$defs/t"}}},"t":{"type":"string","pattern":"x"}}}`, "gemini",
			`{"type":"object","properties":{"a":{"description":"mine","type":"object","properties":{"k":{"type":"string"}}},"b":{"anyOf":[{"type":"object","description":"theirs","properties":{"k":{"type":"string"}}},{"type":"null"}]},"c":{},"d":{}}}`},
		{"a schema that refers to itself", `{"type":"object","properties":{"r":{"$ref":"#/$defs/n"},"s":{"$ref":"#"}},"$defs":{"n":{"type":"object","properties":{"k":{"type":"array","items":{"$ref":"#/$defs/n"}}}}}}`, "gemini",
			`{"type":"object","properties":{"r":{"type":"object","properties":{"k":{"type":"array","items":{"type":"object"}}}},"s":{"type":"object"}}}`},
		{"allOf further down", `{"type":"object","properties":{"a":{"allOf":[{"$ref":"#/$defs/s"}],"description":"d"},"b":{"type":"object","properties":{"x":{}},"required":["x"],"allOf":[{"properties":{"y":{"type":"string"}},"required":["y"]}]}},"$defs":{"s":{"type":"string"}}}`, "gemini",
			`{"type":"object","properties":{"a":{"description":"d","type":"string"},"b":{"type":"object","properties":{"x":{},"y":{"type":"string"}},"required":["x","y"]}}}`},
		{"required names without a property", `{"type":"object","properties":{"a":{}},"required":["a","b"]}`, "gemini", `{"type":"object","properties":{"a":{}},"required":["a"]}`},
		{"true and false as schemas", `{"type":"object","properties":{"a":true,"b":false},"additionalProperties":true}`, "gemini", `{"type":"object","properties":{"a":{},"b":{}},"additionalProperties":true}`},
		{"anyOf at the top", `{"type":"object","anyOf":[{"properties":{"id":{"$ref":"#/$defs/s"}},"required":["id"]},{"properties":{"name":{"type":"string"}},"required":["name"]}],"$defs":{"s":{"type":"string"}}}`, "gemini",
			`{"type":"object","properties":{"id":{"type":"string"},"name":{"type":"string"}}}`},
	}
	for _, c := range cases {
		for host := range strings.FieldsSeq(c.hosts) {
			fit, omitted := rules[host].Fit([]events.ToolSpec{{Name: "t", Schema: json.RawMessage(c.schema)}})
			if len(fit) != 1 || len(omitted) != 0 {
				t.Errorf("%s, %s: left out: %v", c.what, host, omitted)
				continue
			}
			want := c.want
			if want == "" {
				want = c.schema
			}
			if got := string(fit[0].Schema); got != want {
				t.Errorf("%s, %s: got\n%s\nwant\n%s", c.what, host, got, want)
			}
		}
	}
}

func TestATwiceAdaptedToolIsTheSame(t *testing.T) {
	for _, r := range []dialect.Rules{dialect.OpenAI(), dialect.Anthropic(), dialect.Ollama(), dialect.Gemini()} {
		once, _ := r.Fit([]events.ToolSpec{{Name: "t", Description: strings.Repeat("word ", 400),
			Schema: json.RawMessage(`{"anyOf":[{"properties":{"a":{"type":"array"}}},{"required":["b"]}]}`)}})
		twice, _ := r.Fit(once)
		if len(twice) != 1 || string(twice[0].Schema) != string(once[0].Schema) || twice[0].Description != once[0].Description {
			t.Errorf("%s: once %+v, twice %+v", r.Host, once, twice)
		}
	}
}

func TestAToolThatCannotBeAdaptedIsLeftOutAlone(t *testing.T) {
	deep := strings.Repeat(`{"properties":{"a":`, 300) + "{}" + strings.Repeat("}}", 300)
	wide := `{"anyOf":[` + strings.TrimSuffix(strings.Repeat(`{"required":["a"]},`, 300), ",") + `]}`
	cases := []struct {
		what, name, schema, reason string
		rules                      dialect.Rules
	}{
		{"no object", "t", `{"type":"string"}`, "arguments are one", dialect.OpenAI()},
		{"no JSON", "t", `{"type":`, "not JSON", dialect.Anthropic()},
		{"a list", "t", `[]`, "not a JSON object", dialect.Anthropic()},
		{"a boolean", "t", `true`, "not a JSON object", dialect.OpenAI()},
		{"a dotted name", "docs.create", obj, "rename it", dialect.OpenAI()},
		{"a name that begins with a digit", "3d", obj, "begin with a letter", dialect.Gemini()},
		{"a long name", strings.Repeat("n", 65), obj, "at most 64", dialect.OpenAI()},
		{"a name twice", "good", obj, "another tool", dialect.Anthropic()},
		{"a required argument with an odd name", "t", `{"type":"object","properties":{"$top":{}},"required":["$top"]}`, `"$top"`, dialect.Anthropic()},
		{"a reference to nothing", "t", `{"$ref":"#/$defs/none"}`, "not in it", dialect.OpenAI()},
		{"a reference to elsewhere", "t", `{"$ref":"https://example.com/s.json"}`, "not in it", dialect.OpenAI()},
		{"a reference in a circle", "t", `{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/a"}}}`, "itself", dialect.OpenAI()},
		{"branches in a circle", "t", `{"anyOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"anyOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/a"}]}}}`, "too many", dialect.OpenAI()},
		{"too many branches", "t", wide, "too many", dialect.OpenAI()},
		{"too deep", "t", deep, "deep", dialect.Ollama()},
	}
	for _, c := range cases {
		good := events.ToolSpec{Name: "good", Schema: json.RawMessage(obj)}
		fit, omitted := c.rules.Fit([]events.ToolSpec{good, {Name: c.name, Server: "odd", Schema: json.RawMessage(c.schema)}})
		if len(fit) != 1 || fit[0].Name != "good" || len(omitted) != 1 {
			t.Errorf("%s: fit %v, omitted %v", c.what, fit, omitted)
			continue
		}
		if o := omitted[0]; o.Tool != c.name || o.Server != "odd" || !strings.Contains(o.Reason, c.reason) {
			t.Errorf("%s: omitted %+v, want the reason %q", c.what, o, c.reason)
		}
	}
}

func TestARequestHasAtMostTheToolsThatTheProviderTakes(t *testing.T) {
	var all []events.ToolSpec
	for i := range 130 {
		all = append(all, events.ToolSpec{Name: strings.Repeat("a", 1+i%60) + strings.Repeat("b", i/60)})
	}
	fit, omitted := dialect.OpenAI().Fit(all)
	if len(fit) != 128 || len(omitted) != 2 || omitted[0].Tool != all[128].Name || !strings.Contains(omitted[0].Reason, "at most 128") {
		t.Errorf("%d fit, omitted %v", len(fit), omitted)
	}
	if fit, _ := dialect.Anthropic().Fit(all); len(fit) != 130 {
		t.Errorf("%d of 130 fit Anthropic, which has no bound", len(fit))
	}
}

func TestWhatASchemaDoesNotSayIsInTheDescription(t *testing.T) {
	fit, _ := dialect.OpenAI().Fit([]events.ToolSpec{{Name: "t", Description: "Finds it.", Schema: json.RawMessage(`{"anyOf":[{"required":["id"]},{"required":["name"]}]}`)}})
	if want := "Finds it.\n\nThe arguments must also match this JSON Schema: {\"anyOf\":[{\"required\":[\"id\"]},{\"required\":[\"name\"]}]}"; fit[0].Description != want {
		t.Errorf("got %q", fit[0].Description)
	}
	fit, _ = dialect.Anthropic().Fit([]events.ToolSpec{{Name: "t", Schema: json.RawMessage(`{"type":"object","properties":{"$x":{}}}`)}})
	if want := `Arguments that cannot be given here: "$x".`; fit[0].Description != want {
		t.Errorf("got %q", fit[0].Description)
	}
}

func TestALongDescriptionIsSplitAndNothingIsLost(t *testing.T) {
	long := strings.Repeat("Wörter und mehr. ", 200)
	fit, _ := dialect.OpenAI().Fit([]events.ToolSpec{{Name: "t", Description: long, Schema: json.RawMessage(obj)}})
	var schema struct{ Description string }
	if err := json.Unmarshal(fit[0].Schema, &schema); err != nil {
		t.Fatal(err)
	}
	head, ok := strings.CutSuffix(fit[0].Description, "…")
	if n := len([]rune(fit[0].Description)); !ok || n > 1024 || n < 800 || head+strings.TrimPrefix(schema.Description, "…") != long {
		t.Errorf("%d characters, %q and %q", n, fit[0].Description, schema.Description)
	}
	if fit, _ := dialect.Anthropic().Fit([]events.ToolSpec{{Name: "t", Description: long}}); fit[0].Description != long {
		t.Error("a host without a bound gets a part of the description")
	}
}

func TestTheToolThatARefusalNamesIsFound(t *testing.T) {
	var tools []events.ToolSpec
	for _, name := range []string{"a", "b_c", "c", "d"} {
		tools = append(tools, events.ToolSpec{Name: name})
	}
	cases := []struct {
		refusal    string
		tool, most int
	}{
		{"Invalid 'tools[2].function.description': string too long.", 2, -1},
		{"tools.1.custom.input_schema: JSON schema is invalid.", 1, -1},
		{"tools.0.input_schema.type: Field required", 0, -1},
		{"Invalid schema for function 'b_c': In context=(), object schema missing properties.", 1, -1},
		{`tool "d": schema is not supported`, 3, -1},
		{"GenerateContentRequest.tools[0].function_declarations[3].parameters: bad", 3, -1},
		{"Invalid 'tools': array too long. Expected an array with maximum length 2, but got an array with length 4 instead.", -1, 2},
		{"At most 128 tools are supported", -1, -1},
		{"too many tools: maximum is 3", -1, 3},
		{"tools.9.custom.name: String should match", -1, -1},
		{"Invalid schema for function 'nobody': no", -1, -1},
		{"messages.1.content.0: Invalid signature", -1, -1},
		{"this model does not support tools", -1, -1},
		{"the messages[2] have a tool_calls.0 without a result", -1, -1},
	}
	for _, c := range cases {
		if tool, most := dialect.Blamed(c.refusal, tools); tool != c.tool || most != c.most {
			t.Errorf("%s: tool %d, most %d, want %d and %d", c.refusal, tool, most, c.tool, c.most)
		}
	}
}

func FuzzFit(f *testing.F) {
	f.Add([]byte(`{"anyOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"allOf":[true,{"items":[{}]}]}}}`), "d")
	f.Add([]byte(`{"type":"object","type":"array","properties":[]}`), "é")
	f.Fuzz(func(t *testing.T, schema []byte, description string) {
		for _, r := range []dialect.Rules{dialect.OpenAI(), dialect.Anthropic(), dialect.Ollama(), dialect.Gemini()} {
			fit, omitted := r.Fit([]events.ToolSpec{{Name: "t", Description: description, Schema: schema}})
			if len(fit)+len(omitted) != 1 {
				t.Fatalf("%d fit, %d left out", len(fit), len(omitted))
			}
			if len(fit) == 1 && !json.Valid(fit[0].Schema) {
				t.Fatalf("not JSON: %s", fit[0].Schema)
			}
		}
	})
}

func TestToolsThatAProviderDoesNotTakeAreNamedWhateverTheirNumber(t *testing.T) {
	all := make([]events.ToolSpec, 200)
	for i := range all {
		all[i].Name = strings.Repeat("a", 1+i%60) + strings.Repeat("b", i/60)
	}
	all = append(all, events.ToolSpec{Name: "odd", Server: "s", Schema: json.RawMessage(`{"type":"object","properties":{"$top":{}},"required":["$top"]}`)})
	for provider, want := range map[string]int{"openai": 0, "openai-responses": 0, "anthropic": 1, "ollama": 0, "gemini": 0} {
		rules, known := dialect.Of(provider)
		if got := rules.Unfit(all); !known || len(got) != want {
			t.Errorf("%s: known %v, left out %+v", provider, known, got)
		}
	}
	if _, known := dialect.Of("scripted"); known {
		t.Error("the scripted provider has rules")
	}
}

// TestReferencesAreNotWrittenOutWithoutEnd: sixty definitions, each with two references
// to the next, are 2^60 schemas.
func TestReferencesAreNotWrittenOutWithoutEnd(t *testing.T) {
	var defs strings.Builder
	for i := range 60 {
		fmt.Fprintf(&defs, `"d%d":{"type":"object","properties":{"a":{"$ref":"#/$defs/d%d"},"b":{"allOf":[{"$ref":"#/$defs/d%d"}]}}},`, i, i+1, i+1)
	}
	schema := `{"type":"object","properties":{"r":{"$ref":"#/$defs/d0"}},"$defs":{` + defs.String() + `"d60":{}}}`
	fit, omitted := dialect.Gemini().Fit([]events.ToolSpec{{Name: "t", Schema: json.RawMessage(schema)}})
	if len(fit) != 1 || len(omitted) != 0 || len(fit[0].Schema) > 1<<20 || !json.Valid(fit[0].Schema) {
		t.Errorf("fit %d, omitted %v", len(fit), omitted)
	}
	wide := `{"type":"object","properties":{"r":{"$ref":"#/$defs/a"}},"$defs":{"a":{"allOf":[` + strings.Repeat(`{"$ref":"#/$defs/a"},`, 300) + `{"$ref":"#/$defs/b"}]},"b":{"allOf":[` + strings.Repeat(`{"$ref":"#/$defs/a"},`, 300) + `{}]}}}`
	if fit, _ := dialect.Gemini().Fit([]events.ToolSpec{{Name: "t", Schema: json.RawMessage(wide)}}); len(fit) != 1 {
		t.Error("a schema with many branches in a circle is left out")
	}
	var unknown strings.Builder
	for i := range 9000 {
		fmt.Fprintf(&unknown, `"x%d":1,`, i)
	}
	heavy := `{"type":"object","properties":{"r":{"type":"array","prefixItems":[` + strings.TrimSuffix(strings.Repeat(`{"$ref":"#/$defs/a"},`, 4000), ",") + `]}},"$defs":{"a":{` + unknown.String() + `"type":"string"}}}`
	if fit, _ := dialect.Gemini().Fit([]events.ToolSpec{{Name: "t", Schema: json.RawMessage(heavy)}}); len(fit) != 1 || len(fit[0].Schema) > 1<<20 {
		t.Error("a schema with many references to a large one is left out")
	}
}
