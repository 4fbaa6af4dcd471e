package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/parleybus/parley/internal/events"
)

// compile compiles the schema of an event with an implementation that is
// independent of the one that made it. Nothing is fetched.
func compile(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "schemas", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	id := "https://parleybus.dev/schemas/" + name + ".json"
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft4) // so that $schema must say 2020-12
	if err := c.AddResource(id, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(id)
	if err != nil {
		t.Fatal(err)
	}
	if s.DraftVersion != 2020 {
		t.Fatalf("%s is of draft %d, want 2020-12", name, s.DraftVersion)
	}
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, raw []byte) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

func TestEveryExampleFollowsItsSchemaAndComesBackWithoutLoss(t *testing.T) {
	for _, e := range events.Prototypes() {
		t.Run(e.Type(), func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join(root, "schemas", "examples", e.Type()+".json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := validate(t, compile(t, e.Type()), raw); err != nil {
				t.Error(err)
			}
			l, err := events.DecodeLine(raw)
			if err != nil {
				t.Fatal(err)
			}
			if l.Event.Type() != e.Type() {
				t.Fatalf("it is a %s", l.Event.Type())
			}
			got, err := events.Append(nil, l.Event)
			if err != nil {
				t.Fatal(err)
			}
			var want bytes.Buffer
			if err := json.Compact(&want, raw); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want.Bytes()) {
				t.Errorf("decoded and encoded:\n got %s\nwant %s", got, want.Bytes())
			}
		})
	}
}

func TestTheEventsInsideADecisionFollowTheirOwnSchemas(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(root, "schemas", "examples", "Decision.json"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := events.DecodeLine(raw)
	if err != nil {
		t.Fatal(err)
	}
	lines := l.Event.(*events.Decision).Events
	if len(lines) == 0 {
		t.Fatal("the example decides nothing")
	}
	for _, l := range lines {
		if err := validate(t, compile(t, l.Event.Type()), l.Raw); err != nil {
			t.Errorf("%s: %v", l.Event.Type(), err)
		}
	}
}

func TestTheExamplesNameTheDigestsOfTheirArguments(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(root, "schemas", "examples", "Paused.json"))
	if err != nil {
		t.Fatal(err)
	}
	var paused events.Paused
	if err := json.Unmarshal(raw, &paused); err != nil {
		t.Fatal(err)
	}
	if raw, err = os.ReadFile(filepath.Join(root, "schemas", "examples", "Verdict.json")); err != nil {
		t.Fatal(err)
	}
	var verdict events.Verdict
	if err := json.Unmarshal(raw, &verdict); err != nil {
		t.Fatal(err)
	}
	for _, a := range paused.Awaiting {
		if want := events.Digest(string(a.Arguments)); a.Digest != want {
			t.Errorf("%s: the digest of %s is %s", a.Tool, a.Arguments, want)
		}
	}
	if got, want := verdict.Calls[0].Digest, paused.Awaiting[0].Digest; got != want {
		t.Errorf("the verdict names %s, want %s", got, want)
	}
}

func TestNoExampleIsOfNoEvent(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(root, "schemas", "examples", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".json"); !ok || events.New(name) == nil {
			t.Errorf("%s is of no event: remove it", path)
		}
	}
}

func TestTheSchemas(t *testing.T) {
	for _, tc := range []struct {
		name  string
		event string
		raw   string
		wrong string // part of the error; empty when valid
	}{
		{"a bare event is valid", "TextChunk", `{"type":"TextChunk","attempt":"a","index":0,"text":""}`, ""},
		{"unknown fields are valid, at every depth", "TurnEnded",
			`{"type":"TurnEnded","turn":"t","outcome":"failed","steps":1,"later":1,"error":{"class":"network","message":"m","later":{}}}`, ""},
		{"raw JSON may be anything", "ReasoningChunk", `{"type":"ReasoningChunk","attempt":"a","index":0,"carry":["a",null]}`, ""},
		{"unknown events inside a decision are valid", "Decision", `{"type":"Decision","events":[{"type":"Later"}],"state":{"phase":"idle"}}`, ""},
		{"bytes are base64 in a string", "UserMessage", `{"type":"UserMessage","id":"1","text":"","parts":[{"kind":"image","data":"iVBORw=="}]}`, ""},
		{"bytes are no list", "UserMessage", `{"type":"UserMessage","id":"1","text":"","parts":[{"kind":"image","data":[137]}]}`, "/data"},
		{"another type is refused", "TextChunk", `{"type":"ReasoningChunk","attempt":"a","index":0,"text":""}`, "/type"},
		{"a missing type is refused", "TextChunk", `{"attempt":"a","index":0,"text":""}`, "type"},
		{"a missing field is refused", "TextChunk", `{"type":"TextChunk","attempt":"a","index":0}`, "text"},
		{"a field that only a worker leaves out before it writes is refused where it is missing", "TextChunk", `{"type":"TextChunk","index":0,"text":""}`, "attempt"},
		{"null is refused for a list", "TurnStarted", `{"type":"TurnStarted","turn":"t","inputs":null}`, "/inputs"},
		{"null is refused for a number", "AssistantMessage",
			`{"type":"AssistantMessage","turn":"t","generation":"g","step":1,"message":{"role":"user","parts":[]},"finish":"stop","usage":{"input_tokens":null}}`, "/usage/input_tokens"},
		{"null is refused for an object", "ToolResult", `{"type":"ToolResult","call":"c","status":"ok","content":"","object":null}`, "/object"},
		{"a word we do not have is refused", "ToolResult", `{"type":"ToolResult","call":"c","status":"fine","content":""}`, "/status"},
		{"a fraction is refused for a count", "TextChunk", `{"type":"TextChunk","attempt":"a","index":0.5,"text":""}`, "/index"},
		{"a negative sequence is refused", "GenerationJob",
			`{"type":"GenerationJob","conversation":"c","subject":"s","lane_sequence":-1,"turn":"t","generation":"g","step":1,"route":"r","messages":[]}`, "/lane_sequence"},
		{"a known event inside a decision follows its schema", "Decision", `{"type":"Decision","events":[{"type":"TurnEnded","turn":"t"}],"state":{"phase":"idle"}}`, "/events/0"},
		{"an event that is never in a decision is refused there", "Decision", `{"type":"Decision","events":[{"type":"Cancel","id":"1"}],"state":{"phase":"idle"}}`, "/events/0"},
		{"the event in a call of a hook has its type", "HookCall",
			`{"type":"HookCall","hook":"h","when":"after","conversation":"c","turn":"t","timeout_ms":1,"ended":{"turn":"t","outcome":"failed","steps":1}}`, "/ended"},
		{"a deletion in a state has none", "Decision",
			`{"type":"Decision","events":[],"state":{"phase":"deleted","deleted":{"messages":1,"history":1,"jobs":0,"timers":0,"objects":0,"at_ms":1}}}`, ""},
		{"an event without type inside a decision is refused", "Decision", `{"type":"Decision","events":[{}],"state":{"phase":"idle"}}`, "/events/0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := validate(t, compile(t, tc.event), []byte(tc.raw))
			switch {
			case tc.wrong == "" && err != nil:
				t.Error(err)
			case tc.wrong != "" && (err == nil || !strings.Contains(err.Error(), tc.wrong)):
				t.Errorf("error %v, want one about %s", err, tc.wrong)
			}
		})
	}
}

func TestSettingsMayUnsetWhateverTheyMaySet(t *testing.T) {
	settings := compile(t, "Settings")
	for _, field := range []string{"route", "system", "tools", "parameters", "limits", "policy", "add_rules", "while_running", "while_waiting", "priority", "hooks"} {
		if err := validate(t, settings, []byte(`{"type":"Settings","id":"1","`+field+`":null}`)); err != nil {
			t.Errorf("%s: %v", field, err)
		}
	}
	raw := `{"type":"Settings","id":"1","compaction":{"window":null},"parameters":{"temperature":null,"extra":null},"limits":{"steps":null,"calls":{"git_*":null}},"policy":{"rules":null,"deadline_ms":null}}`
	if err := validate(t, settings, []byte(raw)); err != nil {
		t.Error(err)
	}
	if err := validate(t, settings, []byte(`{"type":"Settings","id":null}`)); err == nil {
		t.Error("the id may be unset")
	}
	if err := validate(t, compile(t, "GenerationJob"), []byte(`{"type":"GenerationJob","conversation":"c","subject":"s","lane_sequence":0,"decision":1,"turn":"t","generation":"g","step":1,"route":"a/b","messages":[],"parameters":{"temperature":null}}`)); err == nil {
		t.Error("what only Settings may unset may be null elsewhere too")
	}
}
