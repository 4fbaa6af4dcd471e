package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

func readAsyncAPI(t *testing.T) map[string]any {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "schemas", "asyncapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestEveryReferenceOfTheAsyncAPIDocumentResolves(t *testing.T) {
	doc, bundle := readAsyncAPI(t), readBundle(t)
	seen := 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, below := range v {
				target, ok := below.(string)
				if key != "$ref" || !ok {
					walk(below)
					continue
				}
				seen++
				if err := resolve(doc, bundle, target); err != "" {
					t.Errorf("%s: %s", target, err)
				}
			}
		case []any:
			for _, below := range v {
				walk(below)
			}
		}
	}
	walk(doc)
	if seen == 0 {
		t.Error("the document has no references at all")
	}
}

// resolve returns why a reference leads nowhere.
func resolve(doc, bundle any, target string) string {
	file, path, _ := strings.Cut(target, "#/")
	switch file {
	case "":
	case "./" + bundleName:
		doc = bundle
	default:
		return "there is no file " + file
	}
	for key := range strings.SplitSeq(path, "/") {
		m, ok := doc.(map[string]any)
		if !ok || m[key] == nil {
			return "there is no " + key
		}
		doc = m[key]
	}
	return ""
}

func TestTheAsyncAPIDocumentCoversEveryEvent(t *testing.T) {
	doc := readAsyncAPI(t)
	messages := doc["components"].(map[string]any)["messages"].(map[string]any)
	if n := len(events.Prototypes()) + len(others()); len(messages) != n {
		t.Errorf("%d messages, want one per event and per other message: %d", len(messages), n)
	}
	kept := map[string]bool{} // on a channel that is a log, or a queue
	for key, c := range doc["channels"].(map[string]any) {
		if key == hookAnswers {
			continue
		}
		messages, _ := c.(map[string]any)["messages"].(map[string]any) // none on a timer
		for name := range messages {
			kept[name] = true
		}
	}
	for _, e := range events.Prototypes() {
		m, ok := messages[e.Type()].(map[string]any)
		if !ok {
			t.Errorf("%s is no message", e.Type())
			continue
		}
		if got := m["payload"].(map[string]any)["$ref"]; got != "./"+bundleName+"#/$defs/"+e.Type() {
			t.Errorf("%s has the payload %v", e.Type(), got)
		}
		description, _ := m["description"].(string)
		if inside := strings.Contains(description, "in a Decision") || strings.Contains(description, "inside a Decision"); inside == kept[e.Type()] {
			t.Errorf("%s: on a channel that keeps it %v, inside a decision %v", e.Type(), kept[e.Type()], inside)
		}
		checkExample(t, e.Type(), m)
	}
}

func TestTheAsyncAPIDocumentHasEverySubject(t *testing.T) {
	there := map[string]bool{}
	for key, c := range readAsyncAPI(t)["channels"].(map[string]any) {
		switch address := c.(map[string]any)["address"].(type) {
		case string:
			there[address] = true
		default:
			if !strings.HasSuffix(key, "-answers") {
				t.Errorf("channel %s has the address %v", key, address)
			}
		}
	}
	entries := []string{"$KV.PARLEY_PRESENCE.{kind}.{name}.{worker}", "$KV.PARLEY_PRESENCE.probe", "$KV.PARLEY_TOOLS.{tool}", "$KV.PARLEY_LEASES.shard.{shard}",
		"$KV.PARLEY_CHECKPOINTS.shard.{shard}", "$KV.PARLEY_CHECKPOINTS.gap.{shard}", "$KV.PARLEY_CHECKPOINTS.timers.{shard}", "$O.PARLEY_OBJECTS.M.{object}", "$O.PARLEY_OBJECTS.C.{chunks}"}
	for _, template := range slices.Concat(topology.Templates(), entries) {
		if !there[template] {
			t.Errorf("%s is missing", template)
		}
		delete(there, template)
	}
	for address := range there {
		t.Errorf("%s is no subject of topology", address)
	}
}

// checkExample fails when YAML made something else of the example than JSON.
func checkExample(t *testing.T, name string, message map[string]any) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "schemas", "examples", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	example := message["examples"].([]any)[0].(map[string]any)["payload"]
	again, err := json.Marshal(example)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(again, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: the example is\n%v\nwant\n%v", name, got, want)
	}
}

func TestEveryChannelHasAReader(t *testing.T) {
	doc := readAsyncAPI(t)
	read := map[string]bool{}
	for name, op := range doc["operations"].(map[string]any) {
		o := op.(map[string]any)
		if action := o["action"]; action != "send" && action != "receive" {
			t.Errorf("%s has the action %v", name, action)
		} else if action == "receive" {
			read[channelOf(o)] = true
		}
		if reply, ok := o["reply"].(map[string]any); ok {
			read[channelOf(reply)] = true
		}
	}
	for name := range doc["channels"].(map[string]any) {
		if !read[name] {
			t.Errorf("%s has no receiver", name)
		}
	}
}

func channelOf(operation map[string]any) string {
	return strings.TrimPrefix(operation["channel"].(map[string]any)["$ref"].(string), "#/channels/")
}

func TestARequestIsAnOperationWithAReply(t *testing.T) {
	operations := readAsyncAPI(t)["operations"].(map[string]any)
	for name, answers := range map[string]string{
		"orchestrator-sends-hooks": hookAnswers, "app-receives-hooks": hookAnswers,
		"app-sends-read": readAnswers, "orchestrator-receives-read": readAnswers,
		"tool-worker-sends-queue": queueAnswers, "llm-worker-sends-queue": queueAnswers, "orchestrator-receives-queue": queueAnswers,
	} {
		o, ok := operations[name].(map[string]any)
		if !ok {
			t.Errorf("there is no operation %s", name)
			continue
		}
		reply, ok := o["reply"].(map[string]any)
		if !ok || channelOf(reply) != answers || len(reply["messages"].([]any)) == 0 {
			t.Errorf("%s has the reply %v, want one on %s", name, o["reply"], answers)
		}
	}
	for name := range operations {
		if strings.HasSuffix(name, "-answers") {
			t.Errorf("%s is an operation of its own: it is the reply of another", name)
		}
	}
}

func TestMessagesHaveTheirHeaders(t *testing.T) {
	doc := readAsyncAPI(t)
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	for _, tc := range []struct{ channel, message, header, kind string }{
		{"conv-in", "UserMessage", "Nats-Msg-Id", "required"},
		{"conv-in", "UserMessage", "Parley-Protocol", ""},
		{"conv-in", "UserMessage", "traceparent", ""},
		{"conv-turn", "Decision", "Nats-Expected-Last-Subject-Sequence", "required"},
		{"conv-gen", "TextChunk", "Nats-Expected-Last-Subject-Sequence", "required"},
		{"conv-call", "ToolResult", "Nats-Expected-Last-Subject-Sequence", "required"},
		{"live-gen", "TextChunk", "Nats-Sequence", "required"},
		{"live-gen", "TextChunk", "Nats-Last-Sequence", "required"},
		{"live-in", "UserMessage", "Nats-Msg-Id", ""},
		{"history-in", "UserMessage", "Nats-Stream-Source", "required"},
		{"jobs-llm", "GenerationJob", "Nats-Msg-Id", ""},
		{"jobs-llm", "GenerationJob", "Parley-Job", "required"},
		{"jobs-tool", "ToolJob", "Parley-Protocol", ""},
		{"hooks", "HookCall", "Parley-Protocol", ""},
		{"dead", "DeadLetter", "Parley-Reason", "required"},
		{"dead", "DeadLetter", "Parley-Size", ""},
		{"checkpoints", "Checkpoint", "Parley-Read", ""},
		{"presence", "PresenceRecord", "KV-Operation", ""},
	} {
		message := doc["channels"].(map[string]any)[tc.channel].(map[string]any)["messages"].(map[string]any)[tc.message].(map[string]any)
		target, _ := message["headers"].(map[string]any)
		if target == nil {
			t.Errorf("%s on %s has no headers", tc.message, tc.channel)
			continue
		}
		s := schemas[strings.TrimPrefix(target["$ref"].(string), "#/components/schemas/")].(map[string]any)
		required, _ := s["required"].([]any)
		if s["properties"].(map[string]any)[tc.header] == nil || slices.Contains(required, any(tc.header)) != (tc.kind == "required") {
			t.Errorf("%s on %s: header %s, want it %q: %v", tc.message, tc.channel, tc.header, tc.kind, s)
		}
	}
}
