package accumulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/parleybus/parley/internal/events"
)

// Document is the Settings of a conversation as JSON: the accepted ones,
// each merged into those before it by RFC 7396 (JSON Merge Patch). An absent
// field changes nothing, null unsets, objects are merged, everything else is
// replaced. The zero value has no fields. A Document never changes.
type Document struct{ fields map[string]any }

// maxDocument bounds the merged Settings, in bytes.
const maxDocument = 8 << 20

// patch returns the Settings of an input as they came.
func patch(in Input) json.RawMessage {
	raw := in.Raw
	if len(raw) == 0 && in.Event != nil {
		raw, _ = events.Append(nil, in.Event) // an event that was decoded, or made here, always encodes
	}
	return raw
}

// Merge returns the document with the Settings of an input merged in, and
// the Settings that it means.
func (d Document) Merge(in Input) (Document, events.Settings, error) {
	return d.merge(patch(in))
}

func (d Document) merge(raw json.RawMessage) (Document, events.Settings, error) {
	var settings events.Settings
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var fields map[string]any
	if err := dec.Decode(&fields); err != nil {
		return d, settings, fmt.Errorf("the settings are not a JSON object")
	}
	added, _ := fields["add_rules"].([]any)
	delete(fields, "add_rules")
	delete(fields, "signature") // of the input, not a setting
	schema := fields["answer_schema"]
	if schema != nil {
		delete(fields, "answer_schema")
	}
	merged := Document{mergePatch(d.fields, fields)}
	if schema != nil {
		// As it was written: two schemas merged are no schema, a null in one is a
		// value, and models follow the order of properties.
		var whole struct {
			Schema json.RawMessage `json:"answer_schema"`
		}
		if err := json.Unmarshal(raw, &whole); err != nil {
			return d, settings, fmt.Errorf("the answer's schema cannot be read: %w", err)
		}
		merged.fields["answer_schema"] = whole.Schema
	}
	if len(added) > 0 {
		merged.fields["policy"] = withRules(merged.fields["policy"], added)
	}
	text, err := json.Marshal(merged.fields)
	switch {
	case err != nil:
		return d, settings, fmt.Errorf("the settings cannot be written")
	case len(text) > maxDocument:
		return d, settings, fmt.Errorf("the merged settings have %d bytes, the maximum is %d: unset some", len(text), maxDocument)
	}
	line, err := events.DecodeLine(text)
	if err != nil {
		return d, settings, err
	}
	if s, ok := line.Event.(*events.Settings); ok {
		settings = *s
	}
	return merged, settings, nil
}

// merged returns the document and its meaning with accepted Settings.
// Settings that cannot be merged, which this version did not accept, change
// nothing.
func (d Document) merged(raw json.RawMessage, before events.Settings) (Document, events.Settings) {
	next, settings, err := d.merge(raw)
	if err != nil {
		return d, before
	}
	return next, settings
}

// MarshalJSON returns the merged Settings.
func (d Document) MarshalJSON() ([]byte, error) { return json.Marshal(d.fields) }

// mergePatch returns target with a patch merged in. Neither changes.
func mergePatch(target any, patch map[string]any) map[string]any {
	old, _ := target.(map[string]any)
	merged := maps.Clone(old)
	if merged == nil {
		merged = make(map[string]any, len(patch))
	}
	for name, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(merged, name)
		case map[string]any:
			merged[name] = mergePatch(old[name], value)
		default:
			merged[name] = value
		}
	}
	return merged
}

// withRules returns a policy with rules put before its own. A rule that it
// already has moves to the front.
func withRules(policy any, added []any) map[string]any {
	old, _ := policy.(map[string]any)
	rules, _ := old["rules"].([]any)
	have := map[string]bool{}
	var all []any
	for _, r := range slices.Concat(added, rules) {
		text, err := json.Marshal(r)
		if err == nil && !have[string(text)] {
			have[string(text)] = true
			all = append(all, r)
		}
	}
	return mergePatch(old, map[string]any{"rules": all})
}
