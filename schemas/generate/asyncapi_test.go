package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
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
	doc := readAsyncAPI(t)
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
				if err := resolve(doc, target); err != "" {
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
func resolve(doc any, target string) string {
	path, local := strings.CutPrefix(target, "#/")
	if !local {
		if _, err := os.Stat(filepath.Join(root, "schemas", target)); err != nil {
			return err.Error()
		}
		return ""
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
	if len(messages) != len(events.Prototypes()) {
		t.Errorf("%d messages, want one per event: %d", len(messages), len(events.Prototypes()))
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
		if got := m["payload"].(map[string]any)["$ref"]; got != "./"+e.Type()+".json" {
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
			if key != hookAnswers {
				t.Errorf("channel %s has the address %v", key, address)
			}
		}
	}
	for _, template := range topology.Templates() {
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
			read[strings.TrimPrefix(o["channel"].(map[string]any)["$ref"].(string), "#/channels/")] = true
		}
	}
	for name := range doc["channels"].(map[string]any) {
		if !read[name] {
			t.Errorf("%s has no receiver", name)
		}
	}
}
