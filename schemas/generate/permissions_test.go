package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/parleybus/parley/internal/topology"
)

// meets reports whether a subject can be in two patterns, with * and > as wildcards.
func meets(a, b string) bool {
	s, t := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; i < len(s) && i < len(t); i++ {
		if s[i] == ">" || t[i] == ">" {
			return true
		}
		if s[i] != t[i] && !wild(s[i]) && !wild(t[i]) {
			return false
		}
	}
	return len(s) == len(t)
}

func wild(token string) bool { return token == "*" || strings.HasPrefix(token, "{") }

// granted are the subjects that the document lists for a role.
func granted(t *testing.T, doc map[string]any, role, what string) []string {
	t.Helper()
	roles := doc["x-parley-permissions"].(map[string]any)
	entry, ok := roles[role].(map[string]any)
	if !ok {
		t.Fatalf("role %s has no permissions", role)
	}
	var all []string
	list, _ := entry[what].([]any)
	for _, subject := range list {
		all = append(all, subject.(string))
	}
	return all
}

// TestWritersMayWrite: who is named as the writer of a subject has the permission for
// it, and the other way round for roles with an account of their own.
func TestWritersMayWrite(t *testing.T) {
	doc := readAsyncAPI(t)
	for _, role := range topology.Roles() {
		publish := granted(t, doc, string(role), "publish")
		for _, c := range channels() {
			if c.address == "" {
				continue // a reply subject, which an answer allows
			}
			pattern := strings.ReplaceAll(c.address, "{subject}", ">")
			may := slices.ContainsFunc(publish, func(subject string) bool { return meets(subject, pattern) })
			writes := slices.Contains(c.senders, string(role)) || role == topology.Caller && slices.Contains(c.senders, app)
			switch {
			case writes && !may:
				t.Errorf("%s writes %s and has no permission", role, c.address)
			case may && !writes && role != topology.Admin && c.senders != nil && role != topology.Orchestrator:
				t.Errorf("%s may write %s and is not named as a writer", role, c.address)
			}
		}
	}
}

// TestSubscribersMaySubscribe: who reads a subject of plain NATS may subscribe to it.
func TestSubscribersMaySubscribe(t *testing.T) {
	doc := readAsyncAPI(t)
	for _, c := range channels() {
		plain := strings.HasPrefix(c.key, string(topology.Live)) || slices.Contains([]string{"hooks", "read", "queue", "wake"}, c.key)
		for _, role := range c.readers {
			if !plain || c.address == "" {
				continue
			}
			if !slices.ContainsFunc(granted(t, doc, role, "subscribe"), func(subject string) bool { return meets(subject, c.address) }) {
				t.Errorf("%s reads %s and has no permission", role, c.address)
			}
		}
	}
	if got := granted(t, doc, "viewer", "publish"); len(got) > 0 {
		t.Errorf("a viewer may publish %v", got)
	}
	if got := granted(t, doc, "app", "answers"); !slices.Equal(got, []string{"hooks.*.{hook}"}) {
		t.Errorf("an app answers %v", got)
	}
}

func TestTheExamplesOfOtherMessagesFollowTheirSchemas(t *testing.T) {
	for _, m := range others() {
		if m.example == nil {
			continue
		}
		s := compilePayload(t, m)
		raw, err := yaml.MarshalWithOptions(m.example, yaml.JSON())
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, s, raw); err != nil {
			t.Errorf("%s: %s: %v", m.name, raw, err)
		}
	}
}

func compilePayload(t *testing.T, m message) *jsonschema.Schema {
	t.Helper()
	if len(m.payload) == 1 && m.payload[0].Key == "$ref" {
		return newBundled(t).of(t, m.name)
	}
	raw, err := yaml.MarshalWithOptions(m.payload, yaml.JSON())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("payload.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("payload.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestTheMessagesOfPackageBusHaveItsFields: the structs are not exported there.
func TestTheMessagesOfPackageBusHaveItsFields(t *testing.T) {
	for name, at := range map[string][2]string{
		"ReadRequest": {"reader.go", "readRequest"}, "ReadAnswer": {"reader.go", "readResponse"},
		"Timer": {"timer.go", "duePayload"}, "Gap": {"restore.go", "gap"},
	} {
		source, err := os.ReadFile(filepath.Join(root, "internal/bus", at[0]))
		if err != nil {
			t.Fatal(err)
		}
		body := regexp.MustCompile(`(?s)type ` + at[1] + ` struct \{(.*?)\n\}`).FindSubmatch(source)
		if body == nil {
			t.Errorf("%s has no struct %s", at[0], at[1])
			continue
		}
		var want []string
		for _, tag := range regexp.MustCompile("`json:\"(\\w+)").FindAllSubmatch(body[1], -1) {
			want = append(want, string(tag[1]))
		}
		i := slices.IndexFunc(others(), func(m message) bool { return m.name == name })
		raw, err := yaml.MarshalWithOptions(others()[i].payload, yaml.JSON())
		if err != nil {
			t.Fatal(err)
		}
		var schema struct{ Properties map[string]json.RawMessage }
		if err := json.Unmarshal(raw, &schema); err != nil {
			t.Fatal(err)
		}
		for _, field := range want {
			if schema.Properties[field] == nil {
				t.Errorf("%s lacks %s of %s", name, field, at[1])
			}
		}
		if len(want) == 0 || len(schema.Properties) != len(want) {
			t.Errorf("%s has %d fields, %s %d", name, len(schema.Properties), at[1], len(want))
		}
	}
}
