package accumulator

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/parleybus/parley/internal/events"
)

// extensionsOf returns the fields beginning with x_ of an event; nil when it has none.
func extensionsOf(raw json.RawMessage) map[string]json.RawMessage {
	if !bytes.Contains(raw, []byte(`"`+events.ExtensionPrefix)) {
		return nil
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(raw, &all) != nil {
		return nil
	}
	return extensions(all, func(value json.RawMessage) (json.RawMessage, error) { return value, nil })
}

// extensions returns the fields beginning with x_, each as JSON.
func extensions[V any](fields map[string]V, encode func(V) (json.RawMessage, error)) map[string]json.RawMessage {
	var found map[string]json.RawMessage
	for name, value := range fields {
		if !strings.HasPrefix(name, events.ExtensionPrefix) {
			continue
		}
		raw, err := encode(value)
		if err != nil {
			continue // it was decoded from JSON, and encodes
		}
		if found == nil {
			found = map[string]json.RawMessage{}
		}
		found[name] = raw
	}
	return found
}

// ExtensionBytes returns the bytes of a message's extensions.
func (t *Transcript) ExtensionBytes(input string) int {
	if t == nil {
		return 0
	}
	return bytesOf(t.extensions[input])
}

// ExtensionBytes returns the bytes of the extensions of settings and their parameters.
func (d Document) ExtensionBytes() int {
	settings, parameters := d.extensions()
	return bytesOf(settings) + bytesOf(parameters)
}

func (d Document) extensions() (settings, parameters map[string]json.RawMessage) {
	encode := func(value any) (json.RawMessage, error) { return json.Marshal(value) }
	inside, _ := d.fields["parameters"].(map[string]any)
	return extensions(d.fields, encode), extensions(inside, encode)
}

func bytesOf(all map[string]json.RawMessage) int {
	n := 0
	for name, value := range all {
		n += len(name) + len(value)
	}
	return n
}

// Extensions returns what apps wrote for workers of their own in the settings and in the
// messages of a turn; nil when that is nothing.
func (t *Transcript) Extensions(turn string) *events.Extensions {
	e := &events.Extensions{}
	e.Settings, e.Parameters = t.Document.extensions()
	for _, at := range t.index.turns[turn] {
		for _, input := range t.entries[at].inputs {
			if own := t.extensions[input]; own != nil {
				if e.Messages == nil {
					e.Messages = map[string]map[string]json.RawMessage{}
				}
				e.Messages[input] = own
			}
		}
	}
	if e.Settings == nil && e.Parameters == nil && e.Messages == nil {
		return nil
	}
	return e
}
