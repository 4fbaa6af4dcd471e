package events

import (
	"bytes"
	"encoding/json"
)

// Canonical returns the same text for equivalent arguments: sorted names, no
// white space. Text that is not JSON is returned unchanged.
func Canonical(arguments string) string {
	var v any
	d := json.NewDecoder(bytes.NewReader(Arguments(arguments)))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return arguments
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return arguments
	}
	return string(raw)
}
