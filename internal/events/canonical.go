package events

import (
	"bytes"
	"encoding/json"
)

// Canonical is the same for arguments that mean the same: names in order, no
// white space. What is not JSON is returned as it is.
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
