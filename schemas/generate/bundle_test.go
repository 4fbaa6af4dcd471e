package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/offer"
)

func readBundle(t *testing.T) map[string]any {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "schemas", bundleName))
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// bundled compiles the bundle, or a type of it, with one compiler for all of them.
type bundled struct{ compiler *jsonschema.Compiler }

func newBundled(t *testing.T) bundled {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft4) // so that $schema must say 2020-12
	if err := c.AddResource(schemaHome+bundleName, readBundle(t)); err != nil {
		t.Fatal(err)
	}
	return bundled{c}
}

// of returns a type, or the whole bundle without a name.
func (b bundled) of(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	at := schemaHome + bundleName
	if name != "" {
		at += "#/$defs/" + name
	}
	s, err := b.compiler.Compile(at)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheBundleTakesEveryExample(t *testing.T) {
	b := newBundled(t)
	alone, inside := b.of(t, ""), b.of(t, decisionEvent)
	for _, e := range events.Prototypes() {
		t.Run(e.Type(), func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join(root, "schemas", "examples", e.Type()+".json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := validate(t, b.of(t, e.Type()), raw); err != nil {
				t.Error(err)
			}
			if err := validate(t, alone, raw); (err == nil) != (home(e.Type()) != nil) {
				t.Errorf("as an event of a message: %v", err)
			}
			decides := slices.Contains(slices.Concat(decided(), recorded()), e.Type())
			if err := validate(t, inside, raw); (err == nil) != decides {
				t.Errorf("as an event of a Decision: %v", err)
			}
		})
	}
}

func TestTheBundleRefusesAWrongEventInADecision(t *testing.T) {
	s := newBundled(t).of(t, "")
	for _, tc := range []struct{ name, event, wrong string }{
		{"a whole event", `{"type":"TurnEnded","turn":"t","outcome":"failed","steps":1}`, ""},
		{"a field is missing", `{"type":"TurnEnded","turn":"t","steps":1}`, "outcome"},
		{"a field has another type", `{"type":"TurnEnded","turn":"t","outcome":"failed","steps":"1"}`, "steps"},
		{"an event of another channel", `{"type":"Cancel","id":"1"}`, "events"},
		{"an event of a later version", `{"type":"Later"}`, "events"},
		{"no type", `{"turn":"t","inputs":[],"at_ms":1}`, "type"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := validate(t, s, []byte(`{"type":"Decision","events":[`+tc.event+`],"state":{"phase":"idle"}}`))
			switch {
			case tc.wrong == "" && err != nil:
				t.Error(err)
			case tc.wrong != "" && (err == nil || !strings.Contains(err.Error(), tc.wrong)):
				t.Errorf("error %v, want one about %s", err, tc.wrong)
			}
		})
	}
}

// TestTheBundleHasEachTypeOnce: each is in $defs under its own name, and whatever uses
// it refers to it there, with nothing beside the reference: generators would make
// another type of it.
func TestTheBundleHasEachTypeOnce(t *testing.T) {
	doc := readBundle(t)
	defs := doc["$defs"].(map[string]any)
	used := map[string]bool{"PresenceRecord": true, "KnownTool": true}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if target, ok := v["$ref"].(string); ok {
				name := strings.TrimPrefix(target, "#/$defs/")
				if used[name] = true; defs[name] == nil {
					t.Errorf("%s: there is no %s", at, target)
				}
				if len(v) > 1 {
					t.Errorf("%s: %s has %d keywords beside it", at, target, len(v)-1)
				}
			}
			named := strings.Count(at, "/") == 1 && strings.HasPrefix(at, "$defs/")
			if _, object := v["properties"].(map[string]any); object && !named && v["type"] == "object" {
				t.Errorf("%s is an object without a name", at)
			}
			if v["enum"] != nil && !named {
				t.Errorf("%s is an enum without a name", at)
			}
			for key, below := range v {
				walk(strings.TrimPrefix(at+"/"+key, "/"), below)
			}
		case []any:
			for _, below := range v {
				walk(at, below)
			}
		}
	}
	walk("", doc)
	for name, one := range defs {
		if !used[name] {
			t.Errorf("nothing refers to %s", name)
		}
		for other, same := range defs {
			if name < other && reflect.DeepEqual(undescribed(one), undescribed(same)) {
				t.Errorf("%s and %s are the same", name, other)
			}
		}
	}
	for _, e := range events.Prototypes() {
		if defs[e.Type()] == nil {
			t.Errorf("%s is missing", e.Type())
		}
	}
}

func undescribed(v any) map[string]any {
	bare := map[string]any{}
	for key, value := range v.(map[string]any) {
		if key != "description" {
			bare[key] = value
		}
	}
	return bare
}

// TestNoTypeShadowsOneOfALanguage holds the names against those that a program has
// without an import. What TypeScript and browsers have is checked by .ci/schemas.
func TestNoTypeShadowsOneOfALanguage(t *testing.T) {
	const theirs = `
		Object Error Array Boolean Date Function Map Number Promise Proxy RegExp Set String Symbol
		Awaited Exclude Extract Omit Parameters Partial Pick Readonly Record Required ReturnType Uppercase
		Event Comment Lock Node Notification Option Range Report Request Response Selection Text
		Exception Warning Ellipsis Action Func Attribute Delegate Enum Type Tuple Random Range Version
		Byte Character Class Double Float Integer Iterable Long Math Module Override Package Process Runtime Short System Thread Throwable Void
		Any Clone Copy Debug Default Drop Err From Into Iterator None Ok Option Result Result Send Some Sync Vec Box
		Codable Comparable Data Dictionary Equatable Hashable Int Optional Sequence Sendable UInt URL`
	for name := range readBundle(t)["$defs"].(map[string]any) {
		if slices.Contains(strings.Fields(theirs), name) {
			t.Errorf("%s is a type of another language: name it in names.go", name)
		}
	}
}

func TestTheRecordsFollowTheirSchemas(t *testing.T) {
	b := newBundled(t)
	tool := events.ToolSpec{Name: "clock", Effect: events.EffectPure, Schema: json.RawMessage(`{"type":"object"}`)}
	for _, o := range []offer.Offer{
		{Kind: offer.LLM, Name: "openai", Worker: "w", Model: "openai/m", Default: true, BeatMS: 1000},
		{Kind: offer.Tool, Name: "clock", Worker: "w", Tool: &tool, Low: true, Servers: []offer.ServerState{{Name: "s", Omitted: []events.OmittedTool{{Tool: "t", Reason: "r"}}, Renamed: []offer.RenamedTool{{Tool: "a", As: "s_a"}}}}},
		{Kind: offer.Pool, Name: "fast", Worker: "o", Models: []string{"openai/m"}},
		{Kind: offer.Tool, Name: "clock", Worker: "w", Rejected: &tool},
		{Kind: offer.Tool, Name: "clock", Worker: "w", Withdrawn: true},
	} {
		raw, err := o.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, b.of(t, "PresenceRecord"), raw); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
	raw, err := json.Marshal(offer.Known{Tool: tool, SeenMS: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(t, b.of(t, "KnownTool"), raw); err != nil {
		t.Error(err)
	}
	if err := validate(t, b.of(t, "PresenceRecord"), []byte(`{"kind":"llm","name":"openai"}`)); err == nil {
		t.Error("a record without a worker is valid")
	}
}

func TestEachGeneratedFileSaysThatItIs(t *testing.T) {
	files, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		first, _, _ := bytes.Cut(data, []byte("\n"))
		switch filepath.Ext(name) {
		case ".json":
			var head struct {
				Comment string `json:"$comment"`
			}
			if err := json.Unmarshal(data, &head); err != nil || head.Comment != mark {
				t.Errorf("%s has the comment %q, %v", name, head.Comment, err)
			}
		case ".yaml":
			if string(first) != "# "+mark {
				t.Errorf("%s begins with %s", name, first)
			}
		default:
			if name == "docs/protocol.md" { // its pictures are generated
				if !bytes.Contains(data, []byte(machinesFrom)) {
					t.Errorf("%s has no mark around its pictures", name)
				}
				continue
			}
			if string(first) != "<!-- "+mark+" -->" {
				t.Errorf("%s begins with %s", name, first)
			}
		}
	}
}

// TestAFieldThatIsAlwaysWrittenIsRequired: one without omitempty or omitzero, in every
// struct on the wire.
func TestAFieldThatIsAlwaysWrittenIsRequired(t *testing.T) {
	defs := readBundle(t)["$defs"].(map[string]any)
	var all []reflect.Type
	for _, e := range events.Prototypes() {
		all = collect(append(all, reflect.TypeOf(e).Elem()), reflect.TypeOf(e).Elem())
	}
	all = collect(append(all, reflect.TypeFor[offer.Offer](), reflect.TypeFor[offer.Known]()), reflect.TypeFor[offer.Offer]())
	seen := 0
	for _, typ := range all {
		if typ.Kind() != reflect.Struct {
			continue
		}
		schema, ok := defs[wireName(typ.Name())].(map[string]any)
		if !ok {
			if schema, ok = defs[wireName(typ.Name())+"Patch"].(map[string]any); !ok {
				t.Errorf("%s is not in the bundle", typ)
				continue
			}
		}
		required, _ := schema["required"].([]any)
		for _, f := range reflect.VisibleFields(typ) {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" || name == "-" {
				continue // embedded, or not on the wire
			}
			seen++
			always := options == "" || f.Tag.Get("wire") == "required"
			if slices.Contains(required, any(name)) != always {
				t.Errorf("%s.%s is required %v, want %v", typ.Name(), name, !always, always)
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d fields were seen", seen)
	}
}
