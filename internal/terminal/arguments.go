package terminal

import (
	"encoding/json"
	"strings"

	"github.com/parleybus/parley/internal/events"
)

// arguments formats a call's arguments as one short line: the value alone if
// there is one and it is a scalar, otherwise name=value pairs in the model's
// order. Anything but a JSON object is shown unchanged.
func (p Profile) arguments(raw string) string {
	fields, ok := members(events.Arguments(raw))
	switch {
	case !ok:
		return p.line(raw)
	case len(fields) == 1:
		if text, scalar := scalar(fields[0].value); scalar {
			return p.line(text)
		}
	}
	var b strings.Builder
	for i, f := range fields {
		if b.Len() > lineBytes {
			break // longer than any line
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(f.name)
		b.WriteByte('=')
		text, isScalar := scalar(f.value)
		if isScalar && text != "" && !strings.ContainsAny(text, " \t\r\n\"=") {
			b.WriteString(text)
		} else {
			b.Write(f.value)
		}
	}
	return p.line(b.String())
}

type member struct {
	name  string
	value json.RawMessage
}

// members returns the members of a JSON object in their order.
func members(raw json.RawMessage) ([]member, bool) {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	var out []member
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, false
		}
		name, ok := t.(string)
		var m member
		if m.name = name; !ok || d.Decode(&m.value) != nil {
			return nil, false
		}
		out = append(out, m)
	}
	_, err := d.Token()
	return out, err == nil
}

// scalar returns the text of a JSON string, or of any value that is neither an
// object nor an array.
func scalar(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 || raw[0] == '{' || raw[0] == '[' {
		return "", false
	}
	var s string
	if raw[0] == '"' && json.Unmarshal(raw, &s) == nil {
		return s, true
	}
	return string(raw), true
}
