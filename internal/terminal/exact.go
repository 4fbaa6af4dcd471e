package terminal

import (
	"bytes"
	"encoding/json"

	"github.com/parleybus/parley/internal/visible"
)

// exact formats JSON as one line from which its meaning can be read exactly: a
// person decides about what they see. Invisible characters are written as
// escapes, escapes of visible characters as the characters. Text that is not
// JSON is cleaned.
func (p Profile) exact(raw json.RawMessage) string {
	cut := len(raw) > lineBytes
	var buf bytes.Buffer
	if err := json.Compact(&buf, raw); err != nil {
		return p.line(string(raw))
	}
	out := buf.Bytes()
	if cut {
		out = bytes.ToValidUTF8(out[:min(len(out), lineBytes)], nil)
	}
	line := p.clean(visible.Exact(string(out)))
	if cut {
		line += p.marks().ellipsis
	}
	return line
}

// exactLines is exact on several indented lines.
func (p Profile) exactLines(raw json.RawMessage) string {
	var buf bytes.Buffer
	if err := json.Indent(&buf, raw, "", "  "); err != nil {
		return p.clean(string(raw))
	}
	return p.clean(visible.Exact(buf.String()))
}
